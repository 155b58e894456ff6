package lib

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var word = flag.String("word", "", "a flag of the test's own")

func ExampleSum() {
	fmt.Println(Sum([]int{1, 2}))
	// Output: 3
}

func FuzzSum(f *testing.F) {
	f.Add(1, 2)
	f.Fuzz(func(t *testing.T, a, b int) {
		if got := Sum([]int{a, b}); got != a+b {
			t.Error(got)
		}
	})
}

func BenchmarkSum(b *testing.B) {
	b.ReportAllocs()
	list := make([]int, 100)
	for b.Loop() {
		Sum(list)
	}
}

// TestFiles walks what a test takes for granted.
func TestFiles(t *testing.T) {
	err := filepath.WalkDir("testdata", func(name string, d fs.DirEntry, err error) error {
		t.Log(name, d, err)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{"testdata/a.txt", "../beside.txt", "../go.mod"} {
		b, err := os.ReadFile(name)
		t.Logf("%s: %q %v", name, b, err)
	}
}

// TestPlaces looks at where things are.
func TestPlaces(t *testing.T) {
	dir, err := os.Getwd()
	t.Log(dir, err, os.Getenv("PWD"))
	_, file, line, _ := runtime.Caller(0)
	_, err = os.Stat(file)
	t.Log(file, line, err)
	_, err = os.Stat(runtime.GOROOT() + "/src/strings/strings.go")
	t.Log(runtime.GOROOT(), err)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	t.Log(filepath.Base(exe), filepath.Base(os.Args[0]))
	home, err := os.Stat(os.Getenv("HOME"))
	t.Log(home != nil, err)
}

func TestTemp(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(name, []byte("y"), 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(name)
	t.Log(st.Mode(), st.Size(), err)
	if left := os.Getenv("LEFT"); left != "" {
		list, err := os.ReadDir(os.TempDir())
		t.Log(list, err)
		if err := os.WriteFile(filepath.Join(os.TempDir(), left), []byte("left"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWrite tries to change the module.
func TestWrite(t *testing.T) {
	name := os.Getenv("WRITE")
	if name == "" {
		t.Skip("no WRITE")
	}
	t.Log(os.WriteFile(name, []byte("written"), 0o644))
	t.Log(os.Mkdir(name+".dir", 0o755), os.Rename("testdata/a.txt", "testdata/a2.txt"), os.Remove("testdata/deep/b.txt"))
}

func TestArgs(t *testing.T) { t.Log(*word, flag.Args(), os.Getenv("SOMETHING")) }

func TestBurn(t *testing.T) {
	var mu sync.Mutex
	mu.Lock()
	go func() { time.Sleep(20 * time.Millisecond); mu.Unlock() }()
	mu.Lock()
	end := time.Now().Add(1500 * time.Millisecond)
	for time.Now().Before(end) {
		Burn(1e6)
	}
	var kept [][]byte
	for range 64 {
		kept = append(kept, make([]byte, 1<<20))
	}
	runtime.KeepAlive(kept)
}

func TestSignalToItself(t *testing.T) {
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(p.Signal(syscall.SIGURG), p.Signal(syscall.Signal(0)))
}

func TestArtifact(t *testing.T) {
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "artifact.txt"), []byte("made"), 0o644); err != nil {
		t.Error(err)
	}
}

func TestHang(t *testing.T) {
	if os.Getenv("HANG") == "" {
		t.Skip("no HANG")
	}
	select {}
}

// TestSpeaks of what there is not.
func TestSpeaks(t *testing.T) {
	_, err := os.Open("testdata/none")
	t.Log(err, errors.Is(err, fs.ErrNotExist), strings.ToUpper("x"))
	t.Run("sub", func(t *testing.T) { t.Run("sub", func(t *testing.T) { t.Skip("skipped") }) })
}
