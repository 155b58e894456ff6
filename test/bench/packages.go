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
// benchmarks run: those of everyday operations, at a few of their sizes. A
// pattern with a slash is for benchmarks that have benchmarks within.
type stdBenchmark struct {
	pkg   string
	bench []string
}

var stdBenchmarks = []stdBenchmark{
	{"strings", []string{
		`^Benchmark(GenericMatch1|ByteByteReplaces|Index|IndexHard1|IndexRune|CountHard1|SplitSingleByteSeparator|Trim|LastIndex)$`,
		`^Benchmark(ToUpper|ToLower|Fields|Repeat|EqualFold|Join|Map)$/^(ASCII|abc|AbC123|5x6|7|Tests|change)$/^(16|4096|ASCII|)$`,
	}},
	{"bytes", []string{
		`^Benchmark(ReadString|WriteByte|WriteRune|BufferNotEmptyWriteRead|BufferFullSmallReads|CompareBytesEqual|CompareBytesBig|TrimSpace|SplitSingleByteSeparator)$`,
		`^Benchmark(IndexByte|Equal|Index|Count|Fields|ToUpper)$/^(10|4K|4M|ASCII|abc)$/^(16|4096|)$`,
	}},
	{"sort", []string{`^Benchmark(SortStrings|SortInt1K|SortInt64K|StableString1K|Sort1e4|Stable1e4|SearchWrappers)$`}},
	{"encoding/json", []string{`^Benchmark(CodeMarshal|CodeUnmarshal|CodeEncoder|CodeDecoder|UnmarshalString|UnmarshalInt64|UnmarshalMap|MarshalMap|EncoderEncode|NumberIsValid)$`}},
	{"compress/flate", []string{`^Benchmark(Decode|Encode)$/^(Digits|Newton)$/^(Speed|Default)$/^1e[45]$`}},
	{"crypto/sha256", []string{`^BenchmarkHash`}},
	{"regexp", []string{
		`^Benchmark(Literal|NotLiteral|MatchClass|ReplaceAll|FindSubmatch|OnePassShortA|AnchoredLongMatch|QuoteMetaAll)$`,
		`^Benchmark(Match|Compile)$/^(Easy0|Hard|Onepass|Medium)$/^(16|1K|32K|)$`,
	}},
	{"sync", []string{
		`^Benchmark(MutexUncontended|Mutex|RWMutexWrite100|Pool|PoolSTW|WaitGroupActuallyWait|WaitGroupAddDone|Cond4|SemaWorkBlock)$`,
		`^Benchmark(MapLoadMostlyHits|MapRange)$/sync.Map$`,
	}},
	{"runtime", []string{
		`^Benchmark(ChanUncontended|ChanContended|ChanSync|ChanSyncWork|ChanProdCons0|ChanProdCons10|ChanSem|ChanNonblocking|ChanCreation|SelectUncontended|SelectSyncContended|SelectNonblock|SelectProdCons|SmallKeyMap|MapStringKeysEight_16|RepeatedLookupStrMapKey32|NewSmallMap|HashStringSpeed)$`,
		`^Benchmark(MapIter|MapAccessHit|MapAccessMiss|MapAssignGrowLatency|MapDelete|MapPop|MakeChan|MapPopulate)$/^(Key=int64|Byte|1000)$/^(Elem=int64|)$/^(len=64|len=8192|)$`,
	}},
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
	for range s.runs {
		for _, bench := range b.bench {
			args := []string{"-test.run=^$", "-test.bench=" + bench, "-test.benchtime=" + benchtime, "-test.timeout=10m"}
			if err := appendOutput(native, src, test, args...); err != nil {
				return err
			}
			if err := appendOutput(guest, src, s.path("pvrun"), append([]string{"exec", pv}, args...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendOutput runs a program in dir and appends what it prints to file.
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
