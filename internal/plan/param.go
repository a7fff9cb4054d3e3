package plan

import (
	"encoding/json"
	"fmt"
	"math"
)

// Params are the numbers that a claim predicts.
type Params map[Param]Amount

// Param names a predicted number. One that is none of the constants is a server's address or a pool's name: its share
// of the requests.
type Param string

// The predicted numbers.
const (
	ParamTimeout         Param = "timeout_s"         // how long the balancer waits
	ParamBurst           Param = "burst"             // requests that a limit lets in at once
	ParamAttempts        Param = "attempts"          // of one request, in all
	ParamMaxBytes        Param = "max_bytes"         // of a body, at most
	ParamCheckInterval   Param = "check_interval_s"  // how often a breaker looks
	ParamCode            Param = "code"              // that the client sees
	ParamDetectHangMax   Param = "detect_hang_max_s" // until a server that hangs is out of rotation
	ParamDetectMin       Param = "detect_min_s"      // until a dead server is out of rotation
	ParamDetectMax       Param = "detect_max_s"
	ParamFails           Param = "fails"            // failed attempts that take a server out
	ParamIdleConnections Param = "idle_connections" // connections kept, per process
	ParamMinBytes        Param = "min_bytes"        // of a response that is compressed
	ParamMaxConcurrent   Param = "max_concurrent"   // requests at a time
	ParamOpen            Param = "open_s"           // for how long a breaker refuses
	ParamEjectionMin     Param = "ejection_min_s"   // for how long a server is out of rotation
	ParamEjectionMax     Param = "ejection_max_s"   //
	ParamPort            Param = "port"             // that a claim is about
	ParamRate            Param = "rate_per_s"       // requests
	ParamRecovery        Param = "recovery_s"       // until a breaker lets all in again
	ParamRequests        Param = "requests"         // over one connection
	ParamShare           Param = "share"            // of the requests
	ParamSpacing         Param = "spacing_ms"       // between requests that a limit lets in
	ParamStatus          Param = "status"           // of a refusal
	ParamRejoinMin       Param = "rejoin_min_s"     // until a server that is back is in rotation
	ParamRejoinMax       Param = "rejoin_max_s"     //
)

// Unit is what a predicted number counts.
type Unit int

// The units.
const (
	UnitShare Unit = iota // between 0 and 1
	UnitCount
	UnitSeconds
	UnitMilliseconds
	UnitBytes
	UnitPerSecond
	UnitCode // a status, or a port: a number that counts nothing
)

var units = map[Param]Unit{
	ParamTimeout: UnitSeconds, ParamCheckInterval: UnitSeconds, ParamOpen: UnitSeconds, ParamRecovery: UnitSeconds,
	ParamDetectHangMax: UnitSeconds, ParamDetectMin: UnitSeconds, ParamDetectMax: UnitSeconds,
	ParamEjectionMin: UnitSeconds, ParamEjectionMax: UnitSeconds, ParamRejoinMin: UnitSeconds, ParamRejoinMax: UnitSeconds,
	ParamBurst: UnitCount, ParamAttempts: UnitCount, ParamFails: UnitCount, ParamIdleConnections: UnitCount, ParamMaxConcurrent: UnitCount, ParamRequests: UnitCount,
	ParamMaxBytes: UnitBytes, ParamMinBytes: UnitBytes, ParamRate: UnitPerSecond, ParamSpacing: UnitMilliseconds,
	ParamCode: UnitCode, ParamPort: UnitCode, ParamStatus: UnitCode,
}

// Unit is the number's.
func (p Param) Unit() Unit { return units[p] }

// Amount is a predicted number, in the unit of its Param.
type Amount float64

// Unlimited is the amount of what has no limit. In JSON it is 0.
var Unlimited = Amount(math.Inf(1))

// LimitAmount is a limit that a configuration gives as a number, of which 0 is no limit.
func LimitAmount(n int64) Amount {
	if n == 0 {
		return Unlimited
	}
	return Amount(n)
}

// IsLimited reports whether there is a limit.
func (a Amount) IsLimited() bool { return a != Unlimited }

// mayBeUnlimited are the numbers of which there may be no limit.
var mayBeUnlimited = map[Param]bool{ParamAttempts: true, ParamMaxBytes: true, ParamIdleConnections: true, ParamRequests: true}

// MarshalJSON writes Unlimited as 0.
func (a Amount) MarshalJSON() ([]byte, error) {
	if !a.IsLimited() {
		return []byte("0"), nil
	}
	return json.Marshal(float64(a))
}

// UnmarshalJSON reads 0 as Unlimited where the number may be.
func (p *Params) UnmarshalJSON(text []byte) error {
	numbers := map[Param]float64{}
	if err := json.Unmarshal(text, &numbers); err != nil {
		return fmt.Errorf("predicted numbers: %w", err)
	}
	*p = Params{}
	for name, number := range numbers {
		if (*p)[name] = Amount(number); number == 0 && mayBeUnlimited[name] {
			(*p)[name] = Unlimited
		}
	}
	return nil
}

// String is a number with six significant digits; Unlimited is 0, as in JSON.
func (a Amount) String() string {
	if !a.IsLimited() {
		return "0"
	}
	return fmt.Sprintf("%.6g", float64(a))
}

// Int is the inverse of AtMost.
func (a Amount) Int() int64 {
	if !a.IsLimited() {
		return 0
	}
	return int64(a)
}
