package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// benchstat compares the two sides of the standard library's benchmarks.
const benchstat = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"

// stdBenchmark is a package of the standard library and which of its
// benchmarks run: those of everyday operations, at a few of their sizes.
type stdBenchmark struct{ pkg, bench string }

var stdBenchmarks = []stdBenchmark{
	{"strings", `^Benchmark(BuildString_Builder|GenericMatch1|ByteByteReplaces|ToUpper|ToLower|Map|Index|IndexHard1|CountHard1|Fields|SplitSingleByteSeparator|Repeat|EqualFold|Trim|Join)$/^(|1|16|256|4096|1_Grow|ascii|5x[01])`},
	{"bytes", `^Benchmark(IndexByte|Equal|Index|Compare|Count|Fields|Split|Replace|ToUpper|Buffer|ReadString|WriteByte|BufferFullSmallReads)$/^(|10|4K|4M|256|4096)$`},
	{"sort", `^Benchmark(SortStrings|SortInt1K|SortInt64K|StableString1K|Sort1e4|Stable1e4|SearchWrappers)$`},
	{"encoding/json", `^Benchmark(CodeMarshal|CodeUnmarshal|CodeEncoder|CodeDecoder|UnmarshalString|UnmarshalInt64|UnmarshalMap|MarshalMap|EncoderEncode|NumberIsValid)$`},
	{"compress/flate", `^Benchmark(Decode|Encode)$/^(Digits|Newton)$/^(Speed|Default)$/^1e[45]$`},
	{"crypto/sha256", `^BenchmarkHash`},
	{"regexp", `^Benchmark(Literal|NotLiteral|MatchClass|ReplaceAll|FindSubmatch|Compile|OnePassShortA|Match)$/^(|Easy0|Hard)$/^(|16|1K|32K)$`},
	{"sync", `^Benchmark(MutexUncontended|Mutex|RWMutexWrite100|Pool|PoolSTW|OnceFunc|MapLoadMostlyHits|MapRange|WaitGroupActuallyWait|WaitGroupAddDone|Cond4|SemaWorkBlock)$`},
	{"runtime", `^Benchmark(MakeChan|ChanUncontended|ChanSync|ChanProdCons10|ChanSem|SelectUncontended|SelectProdCons|ChanNonblocking|GoMapClear|MapStringKeysEight_16|RepeatedLookupStrMapKey32|SmallKeyMap|MapPopulate|MapPop|MapDelete|MapIter|MapAccessHit|MapAccessMiss|MapAssignGrowLatency|HashStringSpeed)$/^(|Byte|Int|String|Reflexive|100|1000|10000|Key=int64)$/^(|Elem=int64)$/^(|len=(64|8192))$`},
}

// benchtime is how long one benchmark runs each time.
const benchtime = "100ms"

// runPackages runs the standard library's benchmarks in a machine and natively,
// in turn, and lets benchstat compare them. Both sides have one CPU.
func (s *suite) runPackages(pattern *regexp.Regexp, keep string) error {
	if keep == "" {
		keep = s.dir
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	native, guest := filepath.Join(keep, "native.txt"), filepath.Join(keep, "pvrun.txt")
	os.Remove(native)
	os.Remove(guest)
	any := false
	for _, b := range stdBenchmarks {
		if !pattern.MatchString("std/" + b.pkg) {
			continue
		}
		any = true
		src := filepath.Join(strings.TrimSpace(string(goroot)), "src", b.pkg)
		if err := s.runPackage(b, src, native, guest); err != nil {
			return fmt.Errorf("%s: %w", b.pkg, err)
		}
	}
	if !any {
		return nil
	}
	fmt.Println()
	cmd := exec.Command("go", "run", benchstat, "-filter", ".unit:sec/op", "-table", "goos", "-row", "pkg,.fullname", native, guest)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// runPackage adds one package's results to both files.
func (s *suite) runPackage(b stdBenchmark, src, native, guest string) error {
	test := s.path(strings.ReplaceAll(b.pkg, "/", "_") + ".test")
	pv := test + ".pvrun"
	settings, err := exec.Command(s.path("pvrun"), "env").Output()
	if err != nil {
		return fmt.Errorf("pvrun env: %w", err)
	}
	link := `eval "$1"; go test -c -o "$2" "$3"`
	for _, step := range []struct{ env, out string }{{"export CGO_ENABLED=0", test}, {string(settings), pv}} {
		if out, err := exec.Command("sh", "-c", link, "sh", step.env, step.out, b.pkg).CombinedOutput(); err != nil {
			return fmt.Errorf("link: %w\n%s", err, out)
		}
	}
	args := []string{"-test.run=^$", "-test.bench=" + b.bench, "-test.benchtime=" + benchtime, "-test.timeout=10m"}
	for range s.runs {
		if err := appendOutput(native, src, test, args...); err != nil {
			return err
		}
		if err := appendOutput(guest, src, s.path("pvrun"), append([]string{"exec", pv}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// appendOutput runs a program in dir and appends what it prints to file, and
// to standard output with the side's name.
func appendOutput(file, dir, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	if _, err := f.Write(out); err != nil {
		return err
	}
	return f.Close()
}
