package build

import (
	_ "embed"
	"fmt"
	"regexp"
)

// A patch is one mechanical change to a file of the Go that an image is built
// with. Each replaces as many lines as it found: line numbers in tracebacks
// stay those of the installed Go.
type patch struct {
	file    string // below GOROOT/src
	why     string
	pattern string // a regular expression, multi-line mode
	with    string // its replacement, in regexp.Expand's syntax
	count   int    // how often the pattern must be found; 0 for once or more
}

const (
	// In assembly U+2215 stands for the slash of a package path and U+00B7
	// for the dot before a symbol (go.dev/doc/asm, "Symbols").
	systemCall = `^([ \t]*)SYSCALL[ \t]*$`
	callGate   = "${1}CALL\tpvrun∕guest·gate(SB)"
)

// patches are applied in order. The linked program is checked afterwards for
// SYSCALLs in the standard library that none of them has caught.
var patches = []patch{
	{"runtime/sys_linux_amd64.s", "a thread that exits has no stack for a CALL any more",
		`^(TEXT runtime·exitThread\(SB\),.*\n(?:\t.*\n)*?\t)SYSCALL$`, "${1}JMP\tpvrun∕guest·exitGate(SB)", 1},
	{"runtime/sys_linux_amd64.s", "the runtime's door", systemCall, callGate, 0},
	{"runtime/sys_linux_amd64.s", "rt_sigreturn is found by RSP, so no frame pointer may be pushed",
		`^(TEXT runtime·sigreturn__sigaction\(SB\),NOSPLIT),\$0$`, "${1}|NOFRAME,$$0", 1},
	{"runtime/time_linux_amd64.s", "the runtime's door", systemCall, callGate, 0},
	{"internal/runtime/syscall/linux/asm_linux_amd64.s", "the runtime's door", systemCall, callGate, 1},
	{"syscall/asm_linux_amd64.s", "the runtime's door", systemCall, callGate, 0},
	{"runtime/rt0_linux_amd64.s", "the guest starts before the runtime does",
		`^(TEXT _rt0_amd64_linux\(SB\),.*\n\s*JMP\s+)_rt0_amd64\(SB\)$`,
		"${1}pvrun∕guest·rt0(SB)", 1},
	{"runtime/proc.go", "the guest notes when main.main begins",
		`^(\tfn := main_main\b.*\n\t)(fn\(\))$`, "${1}pvMainStarting(); ${2}", 1},
	{"runtime/mgcpacer.go", "the collector knows how small the machine is; GOMEMLIMIT=off makes it forget",
		`^\tif p == "" (\|\| p == "off" \{)$`, "\tif p == \"\" { return pvMemoryLimit() }; if p == \"\" ${1}", 1},
	{"runtime/traceback.go", "the guest's goroutines are not the program's: who looks for leaks does not see them",
		`^(\treturn stringslite\.HasPrefix\(funcname\(f\), "runtime\."\))$`, `${1} || stringslite.HasPrefix(funcname(f), "pvrun/")`, 1},
	{"runtime/proc.go", "sysmon sees that the host wants the machine to come to rest",
		`^(\t+if t := \(gcTrigger\{kind: gcTriggerTime, now: now\}\); )t\.test\(\)( && forcegc\.idle\.Load\(\) \{)$`,
		"${1}(pvRestWanted() || t.test())${2}", 1},
	{"runtime/proc.go", "and does not sleep through it",
		`^(\t+syscallWake = )notetsleep(\(&sched\.sysmonnote, sleep\))$`, "${1}pvSysmonSleep${2}", 1},
	{"runtime/proc.go", "a goroutine that sysmon can wake brings the machine to rest",
		`^(\t\tgoparkunlock\(&forcegc\.lock, .*\)\n)(\t\t// this goroutine is explicitly resumed by sysmon)$`,
		"${1}\t\tif pvRest() { continue } // or by sysmon for a collection", 1},
	{"runtime/heapdump.go", "the guest writes the dump to its file",
		`^(func runtime_debug_WriteHeapDump\(.*\n(?:\t.*\n|\n)*?\tstartTheWorld\(stw\))$`, "${1}; pvWritten()", 1},
	{"runtime/runtime.go", "the guest learns where a crash is written to",
		`^(\told := crashFD\.Swap\(fd\))$`, "${1}; pvCrashFD(fd)", 1},

	{"syscall/syscall_linux.go", "the library's door",
		`^\t"internal/runtime/syscall/linux"$`, "\tpvsys \"pvrun/guest/sys\"", 1},
	{"syscall/syscall_linux.go", "the library's door",
		`^(\tr1, r2, errno = )linux\.Syscall6\(`, "${1}pvsys.Syscall(", 1},
	{"syscall/syscall_linux.go", "the guest answers on the calling goroutine, which gives up no P",
		`^\truntime_entersyscall\(\)$`, "", 2},
	{"syscall/syscall_linux.go", "it may have waited until all Ps were idle, and sysmon slept; who goes on now may compute for long",
		`^\truntime_exitsyscall\(\)$`, "\tpvBusy()", 2},

	{"crypto/internal/sysrand/rand.go", "random bytes are of one life of the machine",
		`^func Read\(b \[\]byte\) \{$`,
		"func Read(b []byte) { for n := PvRests(); ; n = PvRests() { pvRead(b); if PvRests() == n { return } } }; func pvRead(b []byte) {", 1},
	{"crypto/internal/fips140/drbg/rand.go", "random bytes are of one life of the machine",
		`^func Read\(b \[\]byte\) \{$`,
		"func Read(b []byte) { for n := sysrand.PvRests(); ; n = sysrand.PvRests() { pvRead(b); if sysrand.PvRests() == n { return } } }; func pvRead(b []byte) {", 1},

	{"internal/syscall/unix/fcntl_unix.go", "the library's door has the descriptors, the runtime's has not",
		`^\tval, errno := fcntl\(int32\(fd\), int32\(cmd\), int32\(arg\)\)$`,
		"\tv, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), uintptr(cmd), uintptr(arg)); val := int32(v)", 1},

	{"syscall/exec_unix.go", "there are no processes",
		`^(func forkExec\(argv0 string, .*\) \(pid int, err error\) \{)$`, "${1} return 0, pvNoProcess", 1},
	{"syscall/exec_unix.go", "there are no processes",
		`^(func Exec\(argv0 string, .*\) \(err error\) \{)$`, "${1} return pvNoExec", 1},
	{"syscall/syscall_unix.go", "sockets are linked with package net; without it an error says so",
		`^(func Socket\(domain, typ, proto int\) \(fd int, err error\) \{)$`,
		"${1} if !pvSockets() { return -1, pvNoNetwork }", 1},
	{"syscall/syscall_unix.go", "sockets are linked with package net; without it an error says so",
		`^(func Socketpair\(domain, typ, proto int\) \(fd \[2\]int, err error\) \{)$`,
		"${1} if !pvSockets() { return fd, pvNoNetwork }", 1},

	{"net/dnsclient_unix.go", "another life of the machine has other name servers",
		`^(\tif )(conf\.lastChecked\.After\(now\.Add\(-5 \* time\.Second\)\) \{)$`, "${1}!pvNewLife(0) && ${2}", 1},
	{"net/hosts.go", "and another name",
		`^(\tif )(now\.Before\(hosts\.expire\) && )`, "${1}!pvNewLife(1) && ${2}", 1},

	{"internal/testenv/exec.go", "the standard library's tests try whether there are processes, as they do on wasip1",
		`^(\tcase )("wasip1", "js", "ios":)$`, `${1}"linux", ${2}`, 1},
}

//go:embed patches/runtime.go.txt
var runtimeFile []byte

//go:embed patches/syscall.go.txt
var syscallFile []byte

//go:embed patches/sysrand.go.txt
var sysrandFile []byte

//go:embed patches/net.go.txt
var netFile []byte

//go:embed patches/netsocket.go.txt
var netSocketFile []byte

// additions are the files that the derived tree has beside the installed ones.
var additions = map[string][]byte{
	"runtime/zpvrun.go": runtimeFile,
	"syscall/zpvrun.go": syscallFile,
	"net/zpvrun.go":     netFile,

	"crypto/internal/sysrand/zpvrun.go": sysrandFile,
}

// apply returns src with p done to it.
func (p patch) apply(src []byte) ([]byte, error) {
	re, err := regexp.Compile("(?m)" + p.pattern)
	if err != nil {
		return nil, fmt.Errorf("patch %s: %w", p.file, err)
	}
	n := len(re.FindAllIndex(src, -1))
	if n == 0 || p.count != 0 && n != p.count {
		return nil, fmt.Errorf("patch %s (%s): pattern %q found %d times, expected %s: this Go release is not supported",
			p.file, p.why, p.pattern, n, p.expected())
	}
	return re.ReplaceAll(src, []byte(p.with)), nil
}

func (p patch) expected() string {
	if p.count == 0 {
		return "at least 1"
	}
	return fmt.Sprint(p.count)
}
