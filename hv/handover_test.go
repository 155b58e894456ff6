package hv

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// given is a handover as another process gets it: with a descriptor of its own.
func given(t *testing.T, s *Snapshot) Handover {
	t.Helper()
	h, err := s.Handover()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(h.Pages.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return Handover{os.NewFile(uintptr(fd), "given"), slices.Clone(h.State)}
}

// A snapshot that was handed over makes machines that are as the giver's, and lasts
// longer than the giver's.
func TestHandover(t *testing.T) {
	s := recall(t, 0)
	first := clone(t, s) // the process keeps what the first opens
	ask(t, first, "echo first")
	if err := first.Rewind(); err != nil {
		t.Fatal(err)
	}
	first.Close()
	before := held(t)
	r, err := ReceiveSnapshot(given(t, s))
	if err != nil {
		t.Fatal(err)
	}
	vm := clone(t, s)
	if got := ask(t, vm, "echo a"); got != "a" {
		t.Errorf("the giver's: got %q", got)
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	vm = clone(t, r)
	for range 2 {
		if got := ask(t, vm, "echo b"); got != "b" {
			t.Errorf("got %q", got)
		}
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
		same(t, vm)
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	if a, b := s.Info(), r.Info(); a.Stored != b.Stored || a.Memory != b.Memory || !slices.Equal(a.Args, b.Args) || a.Messages != b.Messages {
		t.Errorf("given %+v, received %+v", a, b)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if after := held(t); after != before {
		t.Errorf("held %+v before, %+v after", before, after)
	}
}

// Who has the pages cannot change them, and what could be changed is not taken.
func TestHandoverSealed(t *testing.T) {
	s, err := openBytes(t, fakeSnapshot(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := given(t, s)
	if _, err := h.Pages.WriteAt([]byte{1}, 0); err == nil {
		t.Error("the pages were written")
	}
	for _, size := range []int64{0, 1 << 30} {
		if err := h.Pages.Truncate(size); err == nil {
			t.Errorf("it has %d bytes now", size)
		}
	}
	if _, err := unix.Mmap(int(h.Pages.Fd()), 0, pageSize, unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		t.Error("the pages were mapped to be written")
	}
	h.Pages.Close()
}

func TestHandoverRefused(t *testing.T) {
	s, err := openBytes(t, fakeSnapshot(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pages := func(n int64, sealed bool) *os.File {
		f, err := memoryFile("test")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(n); err != nil {
			t.Fatal(err)
		}
		if sealed {
			if err := seal(f); err != nil {
				t.Fatal(err)
			}
		}
		return f
	}
	stored := int64(s.stored) << pageShift
	h := given(t, s)
	h.Pages.Close()
	for _, test := range []struct {
		name  string
		pages *os.File
		state []byte
		want  string
	}{
		{"not sealed", pages(stored, false), h.State, "can be changed"},
		{"no pages", pages(stored+1, true), h.State, "are no pages"},
		{"too few", pages(stored-pageSize, true), h.State, "extent"},
		{"too many", pages(stored+pageSize, true), h.State, "pages without a place"},
		{"of zeros", pages(stored, true), h.State, "page tables"},
		{"no description", given(t, s).Pages, nil, "EOF"},
		{"half of one", given(t, s).Pages, h.State[:len(h.State)/2], "unexpected EOF"},
		{"something else", given(t, s).Pages, []byte(`{"Other": 1}`), "unknown field"},
		{"no file of pages", mustOpen(t, os.DevNull), h.State, "can be changed"},
		{"large root", given(t, s).Pages, bytes.Replace(h.State, []byte(`"Root":`), []byte(`"Root":9999`), 1), "root"},
	} {
		before := test.pages.Fd()
		r, err := ReceiveSnapshot(Handover{test.pages, test.state})
		if err == nil {
			r.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", test.name, err)
		}
		if _, err := unix.FcntlInt(before, unix.F_GETFD, 0); err == nil {
			t.Errorf("%s: the descriptor is left", test.name)
		}
	}
}

func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
