package proc

import (
	"sync"

	"golang.org/x/sys/unix"
)

// tlb is what the child has mapped, as far as the host has told it to: a cache of the
// guest's page tables. Entries are added when a page is touched, and have to be taken
// away by whoever changes the tables.
//
// A child that is hostile has mapped something else. That is no more than its guest's
// memory, and the filter's affair.
type tlb struct {
	mu   sync.Mutex
	at   []uint64            // of each frame, a page number that it is mapped at, with age
	age  uint64              // of what is mapped now; entries with another are none
	more map[uint32][]uint64 // of frames that are mapped at several
	void []pages             // to be unmapped before the guest goes on
	news []command           // what is to be mapped then
	maps int                 // mappings that the child has made since it had none, at the most

	pages int // that are noted in at and more
	most  int // of them, before all are taken away
}

// pages are n pages in a row, from page number first on.
type pages struct{ first, n uint64 }

// maxMaps is how many mappings the child may have made before all are taken away:
// there are 65530 of a process's (vm.max_map_count's default, proc_sys_vm(5)), and a
// mapping within another makes three of it.
const maxMaps = 30_000

// mostPages is how many pages one system call may name; the filter wants less than 4 GiB.
const mostPages = 1 << 19

func newTLB(frames int) *tlb {
	return &tlb{at: make([]uint64, frames), age: 1, more: map[uint32][]uint64{}, most: mostMapped(frames)}
}

// mostMapped is how many pages the child may have mapped of a number of frames, a few
// times each. The kernel holds it to that (RLIMIT_AS): each costs page tables, and time of
// the host's when it takes a frame away.
func mostMapped(frames int) int { return 4*frames + 1<<14 }

// pageBits are those of a page number; what is above them in an entry is its age.
const pageBits = 47 - 12

// knows says whether a frame is mapped at a page. It is called with mu held.
func (t *tlb) knows(f uint32, p uint64) bool {
	return uint64(f) < uint64(len(t.at)) && t.at[f] == t.age<<pageBits|p
}

// fill has the child map a run of pages, from frame f on. With populate it has the
// kernel make their page-table entries, too.
func (t *tlb) fill(f uint32, run pages, prot uint64, populate bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(f, run.first, run.n)
	flags := uint64(mapFlags)
	if populate {
		flags = mapPopulated
	}
	t.news = append(t.news, mapCommand(f, run.first, run.n, prot, flags))
}

// add notes that n frames from f on are mapped at page number p on. It is called with mu
// held.
func (t *tlb) add(f uint32, p, n uint64) {
	t.maps += 2
	for i := range n {
		switch at, v := &t.at[uint64(f)+i], t.age<<pageBits|p+i; {
		case *at>>pageBits != t.age:
			*at = v
			t.pages++
		case *at != v:
			t.pages++
			k := f + uint32(i)
			t.more[k] = append(t.more[k], p+i)
		}
	}
}

// invalidate has n frames from f on unmapped.
func (t *tlb) invalidate(f uint32, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := f; k < f+uint32(n); k++ {
		if t.at[k]>>pageBits != t.age {
			continue
		}
		t.news = t.news[:0] // it may be among them; the others are touched again
		t.unmap(t.at[k] & (1<<pageBits - 1))
		t.at[k] = 0
		if len(t.more) == 0 {
			continue
		}
		for _, p := range t.more[k] {
			t.unmap(p)
		}
		delete(t.more, k)
	}
}

func (t *tlb) unmap(p uint64) {
	t.pages--
	if n := len(t.void); n > 0 && t.void[n-1].first+t.void[n-1].n == p {
		t.void[n-1].n++
		return
	}
	t.void = append(t.void, pages{p, 1})
}

// flush has everything unmapped.
func (t *tlb) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flushAll()
}

func (t *tlb) flushAll() {
	if t.maps == 0 {
		return
	}
	if t.age++; t.age>>(64-pageBits) != 0 {
		clear(t.at)
		t.age = 1
	}
	clear(t.more)
	t.maps, t.pages, t.void = 0, 0, append(t.void[:0], pages{0, guestEnd / pageSize})
	t.news = t.news[:0] // they are touched again
}

// commands are what the child has to do before its guest goes on. Room for one more is
// left in its list.
func (t *tlb) commands(list []command) []command {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.maps > maxMaps || t.pages > t.most || len(t.void) > maxCommands/2 {
		t.flushAll()
	}
	for _, v := range t.void {
		for v.n > mostPages && v.n != guestEnd/pageSize {
			list = append(list, unmapCommand(pages{v.first, mostPages}))
			v.first, v.n = v.first+mostPages, v.n-mostPages
		}
		list = append(list, unmapCommand(v))
	}
	if len(t.void) != 1 || t.void[0].n != guestEnd/pageSize { // that leaves none but the news
		t.maps += len(t.void)
	}
	list = append(list, t.news...)
	t.void, t.news = t.void[:0], t.news[:0]
	return list
}

func unmapCommand(v pages) command {
	return command{unix.SYS_MUNMAP, v.first * pageSize, v.n * pageSize}
}

// mapCommand maps n pages of the guest's memory from frame f on at page number p.
func mapCommand(f uint32, p, n uint64, prot, flags uint64) command {
	return command{unix.SYS_MMAP, p * pageSize, n * pageSize, prot, flags, fdMemory, uint64(f) * pageSize}
}
