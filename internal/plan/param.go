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
	ParamAfter       Param = "after_s"             // how long the balancer waits
	ParamAtOnce      Param = "at_once"             // requests that a limit lets in at once
	ParamAttempts    Param = "attempts"            // of one request, in all
	ParamBytes       Param = "bytes"               // of a body, at most
	ParamCheckEvery  Param = "check_s"             // how often a breaker looks
	ParamCode        Param = "code"                // that the client sees
	ParamDownHanging Param = "down_hanging_s_most" // until a server that hangs is out of rotation
	ParamDownLeast   Param = "down_s_least"        // until a dead server is out of rotation
	ParamDownMost    Param = "down_s_most"
	ParamFails       Param = "fails"       // failed attempts that take a server out
	ParamIdle        Param = "idle"        // connections kept, per process
	ParamLeastBytes  Param = "least_bytes" // of a response that is compressed
	ParamMost        Param = "most"        // requests at a time
	ParamOpen        Param = "open_s"      // for how long a breaker refuses
	ParamOutLeast    Param = "out_s_least" // for how long a server is out of rotation
	ParamOutMost     Param = "out_s_most"  //
	ParamPort        Param = "port"        // that a claim is about
	ParamRate        Param = "rate_per_s"  // requests
	ParamRecovery    Param = "recovery_s"  // until a breaker lets all in again
	ParamRequests    Param = "requests"    // over one connection
	ParamShare       Param = "share"       // of the requests
	ParamSpacing     Param = "spacing_ms"  // between requests that a limit lets in
	ParamStatus      Param = "status"      // of a refusal
	ParamUpLeast     Param = "up_s_least"  // until a server that is back is in rotation
	ParamUpMost      Param = "up_s_most"   //
)

// Unit is what a predicted number counts.
type Unit int

// The units.
const (
	Share Unit = iota // between 0 and 1
	Count
	Seconds
	Milliseconds
	Bytes
	PerSecond
	Code // a status, or a port: a number that counts nothing
)

var units = map[Param]Unit{
	ParamAfter: Seconds, ParamCheckEvery: Seconds, ParamOpen: Seconds, ParamRecovery: Seconds,
	ParamDownHanging: Seconds, ParamDownLeast: Seconds, ParamDownMost: Seconds,
	ParamOutLeast: Seconds, ParamOutMost: Seconds, ParamUpLeast: Seconds, ParamUpMost: Seconds,
	ParamAtOnce: Count, ParamAttempts: Count, ParamFails: Count, ParamIdle: Count, ParamMost: Count, ParamRequests: Count,
	ParamBytes: Bytes, ParamLeastBytes: Bytes, ParamRate: PerSecond, ParamSpacing: Milliseconds,
	ParamCode: Code, ParamPort: Code, ParamStatus: Code,
}

// Unit is the number's.
func (p Param) Unit() Unit { return units[p] }

// Amount is a predicted number, in the unit of its Param.
type Amount float64

// Unlimited is the amount of what has no limit. In JSON it is 0.
var Unlimited = Amount(math.Inf(1))

// AtMost is a limit that a configuration gives as a number, of which 0 is no limit.
func AtMost(n int64) Amount {
	if n == 0 {
		return Unlimited
	}
	return Amount(n)
}

// Limited reports whether there is a limit.
func (a Amount) Limited() bool { return a != Unlimited }

// unlimitable are the numbers of which there may be no limit.
var unlimitable = map[Param]bool{ParamAttempts: true, ParamBytes: true, ParamIdle: true, ParamRequests: true}

// MarshalJSON writes Unlimited as 0.
func (a Amount) MarshalJSON() ([]byte, error) {
	if !a.Limited() {
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
		if (*p)[name] = Amount(number); number == 0 && unlimitable[name] {
			(*p)[name] = Unlimited
		}
	}
	return nil
}

// String is a number with six significant digits; Unlimited is 0, as in JSON.
func (a Amount) String() string {
	if !a.Limited() {
		return "0"
	}
	return fmt.Sprintf("%.6g", float64(a))
}

// Whole is the inverse of AtMost.
func (a Amount) Whole() int64 {
	if !a.Limited() {
		return 0
	}
	return int64(a)
}
