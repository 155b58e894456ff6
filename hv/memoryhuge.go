package hv

import "golang.org/x/sys/unix"

// hugePage is what an entry of the second level maps, in bytes (Intel SDM volume 3A,
// "4-Level Paging").
const hugePage = 2 << 20

// firstTouched is about what a Go program touches of its heap before main, in bytes.
// It has the frames after those that were loaded.
const firstTouched = 1 << 20

// expect has the kernel back the memory's beginning with huge pages, if it has some:
// n bytes there will be filled. That is one fault of the host's for 512 pages, where
// each takes longer than to copy its contents. It is not asked for elsewhere: what is
// given back of a huge page the kernel only takes when it is short of memory.
func (m *memory) expect(n int64) {
	if n < hugePage {
		return // it would be more than is filled
	}
	n = (n + firstTouched + hugePage - 1) &^ (hugePage - 1)
	_ = unix.Madvise(m.data[:min(n, int64(len(m.data)))], unix.MADV_HUGEPAGE)
}

// expectExtents is expect for a snapshot's frames: of a huge page that has a quarter
// or more of them. Below that, pages of their own are there as fast, and take less.
func (m *memory) expectExtents(list []extent) {
	const pages = hugePage >> pageShift
	filled := make(map[frame]int, len(list)) // by the huge page
	for _, x := range list {
		for f := x.First; f < x.end(); f = f&^(pages-1) + pages {
			filled[f/pages] += int(min(f&^(pages-1)+pages, x.end()) - f)
		}
	}
	for n, count := range filled {
		if b := m.data[int64(n)*hugePage:]; count >= pages/4 && len(b) >= hugePage {
			_ = unix.Madvise(b[:hugePage], unix.MADV_HUGEPAGE)
		}
	}
}
