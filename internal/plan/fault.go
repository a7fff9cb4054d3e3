package plan

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault names one way to break a node. What each does stands in internal/faults, whose table has every name once.
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

// Effect is what whoever connects to a node meets while a fault is in force, as far as outages are judged by it.
type Effect int

// The effects.
const (
	EffectPartial     Effect = iota // some answers, some connections or the node's work; it is no outage
	EffectRefused                   // connections are refused at once
	EffectUnreachable               // not even a connection comes about
	EffectFrozen                    // connections come about, and nothing comes back
	EffectNoResponse                // requests are read, and have no answer
	EffectUnhealthy                 // only health checks fail
	EffectSlow                      // answers take longer
)

var effects = map[Fault]Effect{
	FaultKill: EffectRefused, FaultStop: EffectRefused, FaultRefuse: EffectRefused,
	FaultBlackhole: EffectUnreachable, FaultPartition: EffectUnreachable,
	FaultPause: EffectFrozen, FaultHalfOpen: EffectFrozen,
	FaultHang: EffectNoResponse,
	FaultSick: EffectUnhealthy,
	FaultSlow: EffectSlow,
}

// Effect is the fault's.
func (f Fault) Effect() Effect { return effects[f] }

// Hangs reports whether what is asked of a node under the fault is not answered, rather than refused.
func (f Fault) Hangs() bool {
	return slices.Contains([]Effect{EffectUnreachable, EffectFrozen, EffectNoResponse}, f.Effect())
}

// FaultsWithEffect are those with one of the effects.
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

// The settings that somebody beside the fault itself knows.
const (
	SettingChange Setting = "change" // of a reload: what becomes of the configuration
	SettingDelay  Setting = "delay"  // of every answer, or of those of health checks
	SettingShare  Setting = "share"  // of the answers that are concerned
	SettingStatus Setting = "status" // of an answer, or of those of health checks
)

// Values of SettingChange.
const (
	ChangeNone   = "none"   // the file stays as it is
	ChangeRemove = "remove" // a pool's last server goes
)

// Settings are the settings of an event, as they are written. Those of a plan are complete and were checked.
type Settings map[Setting]string

// Delay is SettingDelay; ok is false where there is none.
func (s Settings) Delay() (delay time.Duration, ok bool) {
	delay, err := time.ParseDuration(s[SettingDelay])
	return delay, err == nil
}

// Share is SettingShare, between 0 and 1; 0 where there is none.
func (s Settings) Share() float64 {
	digits, percent := strings.CutSuffix(s[SettingShare], "%")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !percent {
		return 0
	}
	return n / 100
}

// AffectsAll reports whether all answers are concerned.
func (s Settings) AffectsAll() bool { return s.Share() == 1 }

// Status is SettingStatus; 0 where there is none.
func (s Settings) Status() int {
	code, err := strconv.Atoi(s[SettingStatus])
	if err != nil {
		return 0
	}
	return code
}
