package plan

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault names a way to break a node. The table in internal/faults has every name once and implements it.
type Fault string

// The faults.
const (
	FaultBadHeader   Fault = "bad-header"
	FaultBandwidth   Fault = "bandwidth"
	FaultBlackhole   Fault = "blackhole"
	FaultCertificate Fault = "certificate"
	FaultCloseIdle   Fault = "close-idle"
	FaultCPU         Fault = "cpu"
	FaultCrashLoop   Fault = "crash-loop"
	FaultCut         Fault = "cut"
	FaultDNSChange   Fault = "dns-change"
	FaultDNSFail     Fault = "dns-fail"
	FaultDrain       Fault = "drain"
	FaultEarlyClose  Fault = "early-close"
	FaultErrors      Fault = "errors"
	FaultFlap        Fault = "flap"
	FaultHalfOpen    Fault = "half-open"
	FaultHang        Fault = "hang"
	FaultKill        Fault = "kill"
	FaultLatency     Fault = "latency"
	FaultLoss        Fault = "loss"
	FaultMemory      Fault = "memory"
	FaultMove        Fault = "move"
	FaultPartition   Fault = "partition"
	FaultPause       Fault = "pause"
	FaultRefuse      Fault = "refuse"
	FaultReload      Fault = "reload"
	FaultReset       Fault = "reset"
	FaultRestart     Fault = "restart"
	FaultSick        Fault = "sick"
	FaultSlice       Fault = "slice"
	FaultSlow        Fault = "slow"
	FaultSlowBody    Fault = "slow-body"
	FaultSlowClose   Fault = "slow-close"
	FaultStop        Fault = "stop"
	FaultSynLoss     Fault = "syn-loss"
	FaultWorkerKill  Fault = "worker-kill"
	FaultWrongLength Fault = "wrong-length"
)

// Effect is what clients of a node observe while a fault is in force, as far as it matters for judging outages.
type Effect int

// The effects.
const (
	EffectPartial     Effect = iota // some responses or connections fail; not an outage
	EffectRefused                   // connections are refused immediately
	EffectUnreachable               // connections are not established
	EffectFrozen                    // connections are established, without any response
	EffectNoResponse                // requests are read, without any response
	EffectUnhealthy                 // only health checks fail
	EffectSlow                      // responses take longer
)

var effects = map[Fault]Effect{
	FaultKill: EffectRefused, FaultStop: EffectRefused, FaultRefuse: EffectRefused,
	FaultBlackhole: EffectUnreachable, FaultPartition: EffectUnreachable,
	FaultPause: EffectFrozen, FaultHalfOpen: EffectFrozen,
	FaultHang: EffectNoResponse,
	FaultSick: EffectUnhealthy,
	FaultSlow: EffectSlow,
}

// Effect returns the effect of the fault.
func (f Fault) Effect() Effect { return effects[f] }

// Hangs reports whether requests to a node under the fault time out, rather than being refused.
func (f Fault) Hangs() bool {
	return slices.Contains([]Effect{EffectUnreachable, EffectFrozen, EffectNoResponse}, f.Effect())
}

// FaultsWithEffect returns the faults with one of the effects, sorted.
func FaultsWithEffect(with ...Effect) (all []Fault) {
	for f, effect := range effects {
		if slices.Contains(with, effect) {
			all = append(all, f)
		}
	}
	slices.Sort(all)
	return all
}

// Setting names a setting of a fault.
type Setting string

// The settings that are used outside the fault itself.
const (
	SettingChange Setting = "change" // of a reload: the change of the configuration
	SettingDelay  Setting = "delay"  // of responses, or of those to health checks
	SettingShare  Setting = "share"  // of responses that are affected
	SettingStatus Setting = "status" // of responses, or of those to health checks
)

// Values of SettingChange.
const (
	ChangeNone   = "none"   // unchanged
	ChangeRemove = "remove" // the last server of a pool is removed
)

// Settings are the settings of a fault as text. Those of a valid plan are complete and correct.
type Settings map[Setting]string

// Delay returns SettingDelay; ok is false if it is unset.
func (s Settings) Delay() (delay time.Duration, ok bool) {
	delay, err := time.ParseDuration(s[SettingDelay])
	return delay, err == nil
}

// Share returns SettingShare, between 0 and 1, or 0 if it is unset.
func (s Settings) Share() float64 {
	digits, percent := strings.CutSuffix(s[SettingShare], "%")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !percent {
		return 0
	}
	return n / 100
}

// AffectsAll reports whether all responses are affected.
func (s Settings) AffectsAll() bool { return s.Share() == 1 }

// Status returns SettingStatus, or 0 if it is unset.
func (s Settings) Status() int {
	code, err := strconv.Atoi(s[SettingStatus])
	if err != nil {
		return 0
	}
	return code
}
