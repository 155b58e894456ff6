package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pvrun/pvrun/build"
)

// testArgs is a command line of `pvrun test`, sorted.
type testArgs struct {
	help    bool
	own     []string // for pvrun exec: --memory 1g, --volume …
	dir     string   // of -C
	compile bool     // -c
	output  string   // of -o, with -c
	rest    []string // for go test
}

// ownFlags are pvrun's among the flags of go test; true for those with a value.
var ownFlags = map[string]bool{
	"memory": true, "m": true, "mode": true, "engine": true, "volume": true, "disk": true, "rootfs-disk": true, "writable": false,
	"net": true, "publish": true, "name": true, "ip": true, "gateway": true, "dns": true, "mac": true, "mtu": true,
	"net-rate": true, "pcap": true,
}

// refused are flags of go test that cannot work here, and why.
var refused = map[string]string{
	"race": "the race detector needs cgo and threads that run in parallel",
	"msan": "the memory sanitizer needs cgo",
	"asan": "the address sanitizer needs cgo",
	"fuzz": "fuzzing starts worker processes, and a unikernel has one; without -fuzz the seeds run as tests",
	"exec": "pvrun test sets it itself (see 'pvrun exec --help')",
}

// valueFlags are the flags of go test whose value may be the next argument.
var valueFlags = strings.Fields(`asmflags bench benchtime blockprofile blockprofilerate buildmode compiler
	count covermode coverpkg coverprofile cpu cpuprofile fuzzminimizetime fuzztime gccgoflags gcflags
	installsuffix ldflags list memprofile memprofilerate mod modfile mutexprofile mutexprofilefraction
	outputdir overlay p parallel pgo pkgdir run shuffle skip tags timeout toolexec trace vet`)

// sortTestArgs sorts a command line; what follows -args is the test's.
func sortTestArgs(args []string) (testArgs, error) {
	var t testArgs
	for len(args) > 0 {
		name, _, _ := flagName(args[0])
		if name == "args" {
			break
		}
		n, err := t.sort(name, args)
		if err != nil {
			return t, err
		}
		args = args[n:]
	}
	t.rest = append(t.rest, args...)
	if !t.compile && t.output != "" {
		t.rest = append([]string{"-o=" + t.output}, t.rest...)
	}
	return t, refusedInEnv()
}

// sort takes one flag or package, and returns how many arguments it was.
func (t *testArgs) sort(name string, args []string) (n int, err error) {
	_, value, given := flagName(args[0])
	n = 1
	hasValue, own := ownFlags[name]
	if !given && (hasValue || name == "C" || name == "o" || slices.Contains(valueFlags, name)) {
		if len(args) == 1 {
			return n, fmt.Errorf("flag needs an argument: %s", args[0])
		}
		n, value = 2, args[1]
	}
	switch {
	case name == "h" || name == "help":
		t.help = true
	case hasValue:
		t.own = append(t.own, "--"+longName(name)+"="+value)
	case own:
		t.own = append(t.own, "--"+name+strings.TrimLeft(args[0], "-")[len(name):])
	case name == "C":
		t.dir = value
	case name == "o":
		t.output = value
	case refused[name] != "" && (name != "fuzz" || !given || value != "") && !isFalse(value):
		return n, fmt.Errorf("-%s is not supported: %s", name, refused[name])
	case name == "c":
		t.compile = !isFalse(value)
	case name == "tags": // takes the place of the one in GOFLAGS
		t.rest = append(t.rest, "-tags="+build.WithTag(value))
	default:
		t.rest = append(t.rest, args[:n]...)
		if name == "gcflags" {
			t.rest = append(t.rest, build.GuestFlags)
		}
	}
	return n, nil
}

// isFalse is whether a flag's value turns it off.
func isFalse(value string) bool {
	on, err := strconv.ParseBool(value)
	return err == nil && !on
}

func longName(flag string) string {
	if flag == "m" {
		return "memory"
	}
	return flag
}

// refusedInEnv looks for refused flags in GOFLAGS.
func refusedInEnv() error {
	for _, f := range strings.Fields(os.Getenv("GOFLAGS")) {
		name, value, _ := flagName(f)
		if refused[name] != "" && !isFalse(value) {
			return fmt.Errorf("GOFLAGS=%s is not supported: %s", f, refused[name])
		}
	}
	return nil
}

// flagName takes a flag apart; the name is "" for what is none.
func flagName(arg string) (name, value string, given bool) {
	name, ok := strings.CutPrefix(arg, "-")
	if !ok {
		return "", "", false
	}
	return strings.Cut(strings.TrimPrefix(name, "-"), "=")
}

// absolute is name as seen from dir.
func absolute(dir, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}
