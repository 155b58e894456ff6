package hv

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// restImage is the program that comes to rest.
var restImage = sync.OnceValues(func() (string, error) {
	if img := need.Built("../test/e2e/programs/rest", ".img"); img != "" {
		return img, nil
	}
	cfg := build.Config{Package: []string{"./rest"}, Dir: "../test/e2e/programs"}
	r, err := build.Build(context.Background(), cfg)
	return r.Image, err
})

// resting is a machine that runs test/e2e/programs/rest. It gets another name for each
// rest, in turn.
type resting struct {
	*VM
	out   bytes.Buffer
	names []hypercall.Extent
	rests int
	ready chan struct{} // has one for each "ready", unless it is nil
}

func newResting(t *testing.T, args ...string) *resting {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program")
	}
	need.KVM(t)
	need.Count(1)
	img, err := restImage()
	if err != nil {
		t.Fatal(err)
	}
	r := new(resting)
	names := []string{"one", "two"}
	args = append([]string{"rest"}, args...)
	if r.VM, err = New(Config{Image: img, Args: append(args, names...), Memory: 256 << 20, Stdout: r, Stderr: &r.out}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	at := r.start.info.Args.Addr + hypercall.GVA(len(strings.Join(args, "\x00"))+1)
	for _, name := range names {
		r.names = append(r.names, hypercall.Extent{Addr: at, Len: uint64(len(name))})
		at += hypercall.GVA(len(name) + 1)
	}
	return r
}

// Write is called by the vCPU's goroutine, as suspend is.
func (r *resting) Write(b []byte) (int, error) {
	if string(b) != "ready\n" {
		return r.out.Write(b)
	}
	r.next()
	r.raise(hypercall.EventSuspend)
	if r.ready != nil {
		r.ready <- struct{}{}
	}
	return len(b), nil
}

// next prepares the life after the next rest.
func (r *resting) next() {
	r.start.info.Hostname = r.names[r.rests%2]
	r.start.info.InstanceID[15]++
	r.start.info.Generation++
	r.rests++
}

func (r *resting) run(t *testing.T) string {
	t.Helper()
	exit, err := runFor(r.VM, 120*time.Second)
	if err != nil || exit != (Exit{}) {
		t.Fatalf("exit %+v, error %v, output %.2000q", exit, err, &r.out)
	}
	return r.out.String()
}

// hostRandom stands for the host's random bytes. The pages of the guest's library hold how
// many there were before; seeds are zeros.
type hostRandom struct {
	pages  uint64
	seeded func(pages uint64) // called for each seed
	asked  func(pages uint64) // and for each page
}

func (h *hostRandom) Read(b []byte) (int, error) {
	clear(b)
	if len(b) != hypercall.MaxEntropy {
		if len(b) == 64 && h.seeded != nil {
			h.seeded(h.pages)
		}
		return len(b), nil
	}
	h.pages++
	for i := 0; i < len(b); i += 8 {
		binary.BigEndian.PutUint64(b[i:], h.pages)
	}
	if h.asked != nil {
		h.asked(h.pages)
	}
	return len(b), nil
}

// install makes it the host's.
func (h *hostRandom) install(t *testing.T) {
	old := rand.Reader
	t.Cleanup(func() { rand.Reader = old })
	rand.Reader = h
}

// TestRestSeeds has the host give the same seed for each life: a program whose generators
// are all seeded anew then draws the same numbers again, in one of its threads. Pages of
// random bytes are never the same, and what is left of one is not served in the next life.
func TestRestSeeds(t *testing.T) {
	new(hostRandom).install(t)
	lives := 12
	r := newResting(t, "draw", fmt.Sprint(lives))
	drawn, again := map[string]int{}, map[string]bool{}
	for line := range strings.Lines(r.run(t)) {
		f := strings.Fields(line)
		for _, v := range f[1:] {
			v = f[0] + " " + v
			if life, ok := drawn[v]; ok && life != drawn[f[0]] {
				again[f[0]] = true
			}
			drawn[v] = drawn[f[0]]
		}
		drawn[f[0]]++
	}
	for _, name := range []string{"v1", "v2", "maphash", "map"} {
		if drawn[name] != lives || !again[name] {
			t.Errorf("%s: %d lives, numbers drawn again: %v", name, drawn[name], again[name])
		}
	}
	if again["crypto"] {
		t.Error("random bytes of one page were served in two lives")
	}
}

// TestRestIdentity: name and identity are those of the present life.
func TestRestIdentity(t *testing.T) {
	r := newResting(t, "draw", "4")
	id := r.start.info.InstanceID
	var got, want []string
	for line := range strings.Lines(r.run(t)) {
		if strings.HasPrefix(line, "host ") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	for i := range 4 {
		id[15]++
		name := []string{"one", "two"}[i%2]
		want = append(want, fmt.Sprintf("host %s %s %x", name, name, id[10:]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestRestLoad comes to rest 200 times while much goes on.
func TestRestLoad(t *testing.T) {
	r := newResting(t, "load", "200")
	out := r.run(t)
	want := strings.Repeat("one <nil>\ntwo <nil>\n", 100) + "done \n"
	if out != want {
		t.Errorf("got %.2000q", out)
	}
	if n := r.stats.reasons[callReason(hypercall.CallSuspend)].n; n != 200 {
		t.Errorf("%d suspend calls, want 200", n)
	}
}

// TestRestRead comes to rest twice while the program draws many random bytes at once: all that
// it gets are of one life.
func TestRestRead(t *testing.T) {
	for _, from := range []string{"read", "device"} {
		t.Run(from, func(t *testing.T) { restWhileReading(t, from) })
	}
}

func restWhileReading(t *testing.T, from string) {
	var r *resting
	var rests []uint64
	h := &hostRandom{seeded: func(pages uint64) { rests = append(rests, pages) }}
	asked := 0
	h.asked = func(pages uint64) {
		if pages == 100 || pages == 1500 {
			r.raise(hypercall.EventSuspend)
			asked++
		}
		if len(rests) < 1+asked { // one seed at the start, one for each rest
			time.Sleep(time.Millisecond) // or the whole read is over before
		}
	}
	h.install(t)
	r = newResting(t, from, fmt.Sprint(2000*hypercall.MaxEntropy))
	var first, last uint64
	if n, err := fmt.Sscanf(r.run(t), "%x %x", &first, &last); n != 2 || err != nil {
		t.Fatalf("%d, %v, %q", n, err, &r.out)
	}
	if n := r.stats.reasons[callReason(hypercall.CallSuspend)].n; n != 2 {
		t.Errorf("%d suspend calls, want 2", n)
	}
	if at := rests[len(rests)-1]; first <= at || last != first+1999 {
		t.Errorf("bytes are of pages %d to %d, and the machine came to rest after page %d", first, last, at)
	}
}

// TestRestIdle comes to rest while nothing goes on at all.
func TestRestIdle(t *testing.T) {
	seeded := make(chan struct{}, 10)
	(&hostRandom{seeded: func(uint64) { seeded <- struct{}{} }}).install(t)
	r := newResting(t, "idle", "0")
	<-seeded // when it was made
	r.ready = make(chan struct{}, 1)
	go func() {
		<-r.ready // to take the signal
		<-seeded
		for range 3 {
			time.Sleep(200 * time.Millisecond) // until it is asleep, most of the time
			r.raise(hypercall.EventSuspend)
			<-seeded
		}
		r.Signal(syscall.SIGTERM)
	}()
	if out := r.run(t); out != "terminated\n" {
		t.Errorf("%q", out)
	}
}

// TestRestListen comes to rest when the program waits for a connection to the port that was
// named, once.
func TestRestListen(t *testing.T) {
	for port, want := range map[string]string{"8080": "one <nil>\nhello\n", "8081": "pvrun <nil>\nhello\n"} {
		r := newResting(t, "listen", port)
		r.start.info.Ready, r.start.info.ReadyPort = hypercall.ReadyListen, 8080
		copy(r.mem.page(r.start.frame), bytesOf(&r.start.info))
		r.next()
		if out := r.run(t); out != want {
			t.Errorf("port %s: got %q, want %q", port, out, want)
		}
	}
}
