package hypercall

// Version is the version of this contract. A host runs only images whose note
// names the same version, and a guest checks [StartInfo.Version] again.
const Version = 7

// PageSize is the only page size that the contract speaks of, in bytes.
const PageSize = 4096

// GVA is an address that the guest program uses (guest-virtual).
type GVA uint64

// GPA is an address on the guest's physical bus.
type GPA uint64

// Mode says which operations the guest's lowest layer shall use.
type Mode uint32

const (
	ModePV   Mode = 1 // hypercalls
	ModeTrap Mode = 2 // the bare machine's own instructions, each trapped
)

// String is the mode as `pvrun run --mode` spells it.
func (m Mode) String() string {
	switch m {
	case ModePV:
		return "pv"
	case ModeTrap:
		return "trap"
	}
	return "unknown"
}

// Feature is a set of optional parts of the contract. The host offers a set in
// [StartInfo.Features]; an image's note names those it requires and can use.
type Feature uint64

const (
	FeatureConsole  Feature = 1 << iota // CallConsoleRead, CallConsoleWrite
	FeatureHostFile                     // CallHostFile
	FeatureSuspend                      // CallSuspend
	FeatureAlias                        // CallAlias
	FeatureJIT                          // pages that change from W to X; reserved
	FeatureBlock                        // [BlockRing], CallDoorbell
	FeatureNet                          // [NetRings], CallNetDoorbell
	FeatureTrapMode                     // the image can run in ModeTrap
	FeatureMessage                      // [MessageQueue], CallRespond; coming to rest when ready
	FeatureStream                       // messages of streams, CallStream; needs FeatureMessage
	featureEnd                          // not a feature
)

// FeaturesKnown is every feature bit that this version gives a meaning.
const FeaturesKnown = featureEnd - 1

// String names the features in f, separated by commas.
func (f Feature) String() string {
	names := [...]string{"console", "hostfile", "suspend", "alias", "jit", "block", "net", "trap", "message", "stream"}
	s := ""
	for i := 0; i < 64; i++ {
		if f&(1<<i) == 0 {
			continue
		}
		if s != "" {
			s += ","
		}
		if i < len(names) {
			s += names[i]
		} else {
			s += "bit" + string([]byte{byte('0' + i/10), byte('0' + i%10)})
		}
	}
	return s
}
