package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/internal/need"
)

// The programs of images/ do in a machine what they do natively, to the byte.
func TestImages(t *testing.T) {
	t.Parallel()
	tests := []struct {
		p      *program
		native []string // arguments
		vm     []string // nil: the same
		stdin  string   // a file
		want   bool     // want.txt has the output
	}{
		{hello, nil, nil, "", true},
		{markdown, []string{"ROOTFS/commonmark.md"}, []string{"/commonmark.md"}, "", true},
		{markdown, []string{"-"}, nil, "../../images/markdown/rootfs/commonmark.md", true},
		{markdown, []string{"/none"}, nil, "", false},
		{wordcount, nil, nil, "../../images/script/rootfs/story.txt", false},
		{wordcount, nil, nil, os.DevNull, false},
		{primes, nil, nil, "", true},
		{primes, []string{"100"}, nil, "", false},
		{primes, []string{"20000000"}, nil, "", false},
		{primes, []string{"x"}, nil, "", false},
		{script, []string{"ROOTFS/main.js"}, []string{"/main.js"}, "", true},
		{script, []string{"ROOTFS/main.js", "a", "b c"}, []string{"/main.js", "a", "b c"}, "", false},
		{script, []string{"/dev/null/x"}, nil, "", false},
		{script, nil, nil, "", false},
	}
	for _, test := range tests {
		t.Run(test.p.name+" "+strings.ReplaceAll(strings.Join(test.native, " "), "/", "_"), func(t *testing.T) {
			t.Parallel()
			need.KVM(t)
			rootfs, err := filepath.Abs(test.p.rootfs)
			if err != nil {
				t.Fatal(err)
			}
			args := make([]string, len(test.native))
			for i, a := range test.native {
				args[i] = strings.ReplaceAll(a, "ROOTFS", rootfs)
			}
			native := nativeCommand(t, test.p, args...)
			native.Stdin = input(t, test.stdin)
			want := finish(t, native)
			if test.vm != nil {
				args = test.vm
			}
			eachMode(t, func(t *testing.T, mode string) {
				cmd := runCommand(t, test.p, in(mode), args...)
				cmd.Stdin = input(t, test.stdin)
				got := finish(t, cmd)
				wants(t, got, want.code, want.stdout, want.stderr)
				if test.want {
					text, err := os.ReadFile(filepath.Join(imagesDir, test.p.name, "want.txt"))
					if err != nil {
						t.Fatal(err)
					}
					same(t, "want.txt", got.stdout, string(text))
				}
			})
		})
	}
}

// input opens a file to be a command's stdin; nil for none.
func input(t *testing.T, name string) io.Reader {
	t.Helper()
	if name == "" {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Every image has its five lines of README.
func TestImagesHaveREADME(t *testing.T) {
	list, err := filepath.Glob(imagesDir + "/*/main.go")
	if err != nil || len(list) < 5 {
		t.Fatalf("got %q, %v", list, err)
	}
	for _, name := range list {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(name), "README.md"))
		if err != nil {
			t.Error(err)
			continue
		}
		if n := strings.Count(string(text), "\n"); n < 5 || n > 12 {
			t.Errorf("%s: README.md has %d lines", name, n)
		}
	}
}

const (
	// pipedSize is what goes through a pipe into a machine, in bytes.
	pipedSize = 200 << 20
	// lineSize is the same for a serial line, of which 16 bytes take two exits.
	lineSize = 128 << 10
)

// words makes text: n bytes of it, always the same.
type words struct {
	rng  *rand.Rand
	list []string
	left int
	rest string
}

func newWords(n int) *words {
	w := &words{rng: rand.New(rand.NewPCG(1, 2)), left: n}
	for i := range 4000 {
		w.list = append(w.list, fmt.Sprintf("%c%s%d", 'a'+i%26, strings.Repeat("xé日q"[:i%7], 1), i*i%997))
	}
	return w
}

func (w *words) Read(p []byte) (int, error) {
	if w.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(len(p), w.left)]
	n := 0
	for n < len(p) {
		if w.rest == "" {
			w.rest = w.list[min(w.rng.IntN(4000), w.rng.IntN(4000))] + " \n\t.,"[:1+w.rng.IntN(5)]
		}
		m := copy(p[n:], w.rest)
		w.rest = w.rest[m:]
		n += m
	}
	w.left -= n
	return n, nil
}

// Hundreds of megabytes go through a pipe into a machine of 64.
func TestWordcountOfALargePipe(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		countPiped(t, mode, map[string]int{"pv": pipedSize, "trap": lineSize}[mode])
	})
}

func countPiped(t *testing.T, mode string, size int) {
	count := func(cmd *exec.Cmd) (outcome, string) {
		sum := sha256.New()
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := io.CopyBuffer(in, io.TeeReader(newWords(size), sum), make([]byte, 1<<18))
			in.Close()
			done <- err
		}()
		got := finish(t, cmd)
		if err := <-done; err != nil {
			t.Errorf("pipe: %v", err)
		}
		return got, fmt.Sprintf("%x", sum.Sum(nil))
	}
	got, gotSum := count(runCommand(t, wordcount, in(mode)))
	want, wantSum := count(nativeCommand(t, wordcount))
	if gotSum != wantSum {
		t.Fatal("the test's own input differs")
	}
	if !strings.Contains(want.stdout, fmt.Sprintf("%d bytes\n", size)) {
		t.Errorf("native: got %s", want.stdout)
	}
	wants(t, got, 0, want.stdout, "")
}

// The two commands of README.
func TestRunOfAPackage(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	need.Count(1)
	cmd := command("run", "./images/hello")
	cmd.Dir = "../.."
	wants(t, finish(t, cmd), 0, "hello from a unikernel\n", "")
}

// What goes in one end comes out of the other, whatever the bytes.
func TestBinaryStreams(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		data := randomBytes(map[string]int{"pv": 20 << 20, "trap": lineSize}[mode])
		for _, name := range []string{"copy", "copy-error"} {
			cmd := runCommand(t, cases, in(mode), name)
			cmd.Stdin = strings.NewReader(data)
			got := finish(t, cmd)
			if got.stdout+got.stderr != data || got.code != 0 {
				t.Errorf("%s: got %d and %d bytes, code %d", name, len(got.stdout), len(got.stderr), got.code)
			}
		}
	})
}

func randomBytes(n int) string {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{})
	rng.Read(b)
	return string(b)
}

// The other programs of images/ do one operation many times; how long that takes
// is all that differs.
func TestOperations(t *testing.T) {
	t.Parallel()
	took := regexp.MustCompile(`ns=\d+`)
	for _, name := range []string{"clock", "console", "exceptions", "gc", "paging", "threads", "timer"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := define(imagesDir, name, "")
			want := finish(t, nativeCommand(t, p, "5"))
			if want.code != 0 || !took.MatchString(want.stdout) {
				t.Fatalf("native: got %+v", want)
			}
			eachMode(t, func(t *testing.T, mode string) {
				got := run(t, p, in(mode), "5")
				wants(t, outcome{took.ReplaceAllString(got.stdout, ""), got.stderr, got.code}, 0, took.ReplaceAllString(want.stdout, ""), "")
			})
		})
	}
}

// Tables of zeros take memory where they are touched, whatever lies between and
// behind them.
func TestZeros(t *testing.T) {
	t.Parallel()
	want := finish(t, nativeCommand(t, zeros))
	eachMode(t, func(t *testing.T, mode string) {
		wants(t, run(t, zeros, in(mode, "-m", "16m")), 0, want.stdout, "")
	})
}
