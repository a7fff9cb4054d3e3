package plan

import (
	"encoding/json"
	"fmt"
	"math"
)

// Params are the numbers that a claim predicts.
type Params map[Param]Amount

// Param names a predicted number. Any name other than the constants is a server's address or a pool's name and stands
// for its share of the requests.
type Param string

// The predicted numbers.
const (
	ParamTimeout         Param = "timeout_s"         // until the balancer gives up
	ParamBurst           Param = "burst"             // requests that a limit admits at once
	ParamAttempts        Param = "attempts"          // of one request, including the first
	ParamMaxBytes        Param = "max_bytes"         // of a request body
	ParamCheckInterval   Param = "check_interval_s"  // of a circuit breaker
	ParamCode            Param = "code"              // status that the client receives
	ParamDetectHangMax   Param = "detect_hang_max_s" // until a hanging server is out of rotation
	ParamDetectMin       Param = "detect_min_s"      // until a failed server is out of rotation
	ParamDetectMax       Param = "detect_max_s"
	ParamFails           Param = "fails"            // failed attempts that eject a server
	ParamIdleConnections Param = "idle_connections" // kept per process
	ParamMinBytes        Param = "min_bytes"        // of responses that are compressed
	ParamMaxConcurrent   Param = "max_concurrent"   // requests in flight
	ParamOpen            Param = "open_s"           // duration of an open circuit breaker
	ParamEjectionMin     Param = "ejection_min_s"   // duration of an ejection
	ParamEjectionMax     Param = "ejection_max_s"
	ParamPort            Param = "port"         // of the balancer
	ParamRate            Param = "rate_per_s"   // of requests
	ParamRecovery        Param = "recovery_s"   // until a circuit breaker admits all requests again
	ParamRequests        Param = "requests"     // per connection
	ParamShare           Param = "share"        // of the requests
	ParamSpacing         Param = "spacing_ms"   // between requests that a limit admits
	ParamStatus          Param = "status"       // of a refusal
	ParamRejoinMin       Param = "rejoin_min_s" // until a recovered server is in rotation
	ParamRejoinMax       Param = "rejoin_max_s"
)

// Unit is the unit of a predicted number.
type Unit int

// The units.
const (
	UnitShare Unit = iota // between 0 and 1
	UnitCount
	UnitSeconds
	UnitMilliseconds
	UnitBytes
	UnitPerSecond
	UnitCode // a status or a port
)

var units = map[Param]Unit{
	ParamTimeout: UnitSeconds, ParamCheckInterval: UnitSeconds, ParamOpen: UnitSeconds, ParamRecovery: UnitSeconds,
	ParamDetectHangMax: UnitSeconds, ParamDetectMin: UnitSeconds, ParamDetectMax: UnitSeconds,
	ParamEjectionMin: UnitSeconds, ParamEjectionMax: UnitSeconds, ParamRejoinMin: UnitSeconds, ParamRejoinMax: UnitSeconds,
	ParamBurst: UnitCount, ParamAttempts: UnitCount, ParamFails: UnitCount, ParamIdleConnections: UnitCount,
	ParamMaxConcurrent: UnitCount, ParamRequests: UnitCount,
	ParamMaxBytes: UnitBytes, ParamMinBytes: UnitBytes, ParamRate: UnitPerSecond, ParamSpacing: UnitMilliseconds,
	ParamCode: UnitCode, ParamPort: UnitCode, ParamStatus: UnitCode,
}

// Unit returns the unit of the number.
func (p Param) Unit() Unit { return units[p] }

// Amount is a predicted number, in the unit of its Param.
type Amount float64

// Unlimited means that there is no limit. In JSON it is 0.
var Unlimited = Amount(math.Inf(1))

// LimitAmount converts a limit of a configuration, where 0 means no limit.
func LimitAmount(n int64) Amount {
	if n == 0 {
		return Unlimited
	}
	return Amount(n)
}

// IsLimited reports whether there is a limit.
func (a Amount) IsLimited() bool { return a != Unlimited }

// mayBeUnlimited are the numbers that can be Unlimited.
var mayBeUnlimited = map[Param]bool{
	ParamAttempts: true, ParamMaxBytes: true, ParamIdleConnections: true, ParamRequests: true,
}

// MarshalJSON writes Unlimited as 0.
func (a Amount) MarshalJSON() ([]byte, error) {
	if !a.IsLimited() {
		return []byte("0"), nil
	}
	return json.Marshal(float64(a))
}

// UnmarshalJSON reads 0 as Unlimited if the number can be.
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

// String returns the number with six significant digits; Unlimited is 0, as in JSON.
func (a Amount) String() string {
	if !a.IsLimited() {
		return "0"
	}
	return fmt.Sprintf("%.6g", float64(a))
}

// Int is the inverse of LimitAmount.
func (a Amount) Int() int64 {
	if !a.IsLimited() {
		return 0
	}
	return int64(a)
}
