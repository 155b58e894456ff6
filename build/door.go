package build

import (
	"path"
	"strings"

	"github.com/pvrun/pvrun/internal/sensitive"
)

// Door is the reason for which a sensitive instruction may be in an image.
type Door string

const (
	// DoorNone is none: in neither mode is the instruction meant to be executed.
	DoorNone Door = ""
	// DoorGuest is the guest library, which stands where the kernel stood.
	DoorGuest Door = "guest"
	// DoorPreempt is how the runtime keeps the flags of a goroutine that it
	// preempts: PUSHFQ and POPFQ in runtime.asyncPreempt.
	DoorPreempt Door = "preempt"
	// DoorCrash is how the runtime ends itself: INT 3 in two bytes.
	DoorCrash Door = "crash"
	// DoorSyscall is a system call in assembly that is not the runtime's: the
	// guest answers it.
	DoorSyscall Door = "syscall"
	// DoorData are bytes that the code jumps over: the mark that package
	// crypto/internal/boring/sig leaves in a program.
	DoorData Door = "data"
	// DoorAny is for those that a program may execute on any machine: CPUID,
	// RDTSC and others of [sensitive.Other].
	DoorAny Door = "any"
)

var (
	bothModes = []string{"pv", "trap"}
	trapMode  = []string{"trap"}
	noMode    = []string{}
)

// door finds the reason for an instruction, and the modes that are meant to
// execute it.
func door(s SensitiveSite) (Door, []string) {
	switch {
	case isData(s.Func):
		return DoorData, noMode
	case s.Class == sensitive.Other:
		return DoorAny, bothModes
	case isGuest(s.Func) && s.Class == sensitive.Unprivileged && !isNative(s.File):
		return DoorGuest, bothModes
	case isGuest(s.Func):
		return DoorGuest, trapMode
	case s.Class == sensitive.Syscall && s.Func != "" && !covered(s.Func):
		return DoorSyscall, bothModes
	case isPreempt(s.Func) && (s.Name == "PUSHFQ" || s.Name == "POPFQ"):
		return DoorPreempt, bothModes
	case strings.HasPrefix(s.Func, "runtime.") && s.Code == "cd03":
		return DoorCrash, bothModes
	}
	return DoorNone, noMode
}

func isGuest(function string) bool {
	return strings.HasPrefix(function, "pvrun/guest.") || strings.HasPrefix(function, "pvrun/guest/")
}

// isNative reports whether a file of the guest is of its native layer, which
// only trap mode uses.
func isNative(file string) bool { return strings.HasPrefix(path.Base(file), "native") }

func isPreempt(function string) bool {
	return function == "runtime.asyncPreempt" || function == "runtime.asyncPreempt.abi0"
}

func isData(function string) bool { return strings.HasPrefix(function, "crypto/internal/boring/sig.") }
