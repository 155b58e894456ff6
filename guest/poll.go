package guest

import "unsafe"

// The runtime's poller: one epoll instance, edge-triggered but for the runtime's
// own eventfd, whose descriptors belong to the library's door or to the kernel
// itself. Owned by the vCPU.

// Descriptors of the kernel's own, beyond all that files get.
const (
	fdEpoll      int32 = 1 << 20
	fdEvent      int32 = 1<<20 + 1 // the runtime's eventfd
	FDConsoleIn  int32 = 1<<20 + 2 // readable when CallConsoleRead is worth a try
	FDConsoleOut int32 = 1<<20 + 3 // writable when CallConsoleWrite is, for stdout
	FDConsoleErr int32 = 1<<20 + 4 // and for stderr
	FDBlock      int32 = 1<<20 + 5 // readable when a block ring has responses
	FDNet        int32 = 1<<20 + 6 // readable when a network ring has packets, or room
	FDMessage    int32 = 1<<20 + 7 // readable when the host has put a message
	FDRest       int32 = 1<<20 + 8 // readable when the machine has come to rest and goes on

	kernelFDs = 9
	maxFiles  = 1 << 16 // descriptors of files
	itemChunk = 256
)

// Event bits (epoll_ctl(2)).
const (
	epollIn  = 0x1
	epollOut = 0x4
	epollErr = 0x8
	epollHup = 0x10
)

// pollItem is what is known of one descriptor.
type pollItem struct {
	data     uint64 // the runtime's
	next     uintptr
	wanted   uint32 // 0: not watched
	ready    uint32 // seen and not yet told
	pollable bool
	queued   bool
}

var poller struct {
	kernel     [kernelFDs]pollItem
	chunks     [maxFiles / itemChunk]uintptr
	head, tail uintptr // items with something to tell
	waiting    uintptr // threads in epoll_wait
	counter    uint64  // of the eventfd
}

func itemOf(fd int32, create bool) *pollItem {
	if fd >= fdEpoll && fd < fdEpoll+kernelFDs {
		return &poller.kernel[fd-fdEpoll]
	}
	if fd < 0 || fd >= maxFiles {
		return nil
	}
	c := &poller.chunks[fd/itemChunk]
	if *c == 0 {
		if !create {
			return nil
		}
		if *c = kernelAlloc(itemChunk * unsafe.Sizeof(pollItem{})); *c == 0 {
			return nil
		}
	}
	return (*pollItem)(unsafe.Pointer(*c + uintptr(fd%itemChunk)*unsafe.Sizeof(pollItem{})))
}

func initPoller() {
	for i := range poller.kernel {
		poller.kernel[i].pollable = i != 0
	}
}

// notify tells the poller that a descriptor has become ready.
func notify(fd int32, events uint32) int64 {
	it := itemOf(fd, false)
	if it == nil || !it.pollable {
		return -eBADF
	}
	it.ready |= events
	queue(it)
	return 0
}

// queue puts an item with news in line and wakes who waits for it.
func queue(it *pollItem) {
	if it.queued || it.wanted == 0 || it.ready&(it.wanted|epollErr|epollHup) == 0 {
		return
	}
	it.queued, it.next = true, 0
	if poller.tail == 0 {
		poller.head = uintptr(unsafe.Pointer(it))
	} else {
		(*pollItem)(unsafe.Pointer(poller.tail)).next = uintptr(unsafe.Pointer(it))
	}
	poller.tail = uintptr(unsafe.Pointer(it))
	if poller.waiting != 0 {
		t := threadAt(poller.waiting)
		wake(t, harvest(t.events, t.max))
	}
}

func unqueue(it *pollItem) {
	if !it.queued {
		return
	}
	it.queued = false
	prev := uintptr(0)
	for at := poller.head; at != 0; at = (*pollItem)(unsafe.Pointer(at)).next {
		if at != uintptr(unsafe.Pointer(it)) {
			prev = at
			continue
		}
		if prev == 0 {
			poller.head = it.next
		} else {
			(*pollItem)(unsafe.Pointer(prev)).next = it.next
		}
		if poller.tail == at {
			poller.tail = prev
		}
		return
	}
}

// setPollable begins or ends a descriptor's life.
func setPollable(fd int32, on bool) int64 {
	it := itemOf(fd, on)
	if it == nil {
		return 0
	}
	unqueue(it)
	*it = pollItem{pollable: on}
	return 0
}

// epollEvent is struct epoll_event, which is packed on amd64.
type epollEvent struct {
	events uint32
	data   [2]uint32
}

const (
	epollCtlAdd = 1
	epollCtlDel = 2
	epollCtlMod = 3
)

func epollCtl(op, fd int32, ev *epollEvent) int64 {
	it := itemOf(fd, false)
	if it == nil || !it.pollable {
		if fd < 0 || fd >= maxFiles {
			return -eBADF
		}
		return -ePERM // as for a regular file
	}
	switch {
	case op == epollCtlDel:
		unqueue(it)
		it.wanted = 0
		return 0
	case op != epollCtlAdd && op != epollCtlMod:
		return -eINVAL
	case op == epollCtlAdd && it.wanted != 0:
		return -eEXIST
	case !readable(uintptr(unsafe.Pointer(ev)), unsafe.Sizeof(*ev)):
		return -eFAULT
	}
	it.wanted = ev.events
	it.data = uint64(ev.data[0]) | uint64(ev.data[1])<<32
	queue(it)
	return 0
}

// harvest stores what there is to tell and returns how many events.
func harvest(events uintptr, most int32) int64 {
	n := int64(0)
	for poller.head != 0 && n < int64(most) {
		it := (*pollItem)(unsafe.Pointer(poller.head))
		poller.head = it.next
		if poller.head == 0 {
			poller.tail = 0
		}
		it.queued = false
		told := it.ready & (it.wanted | epollErr | epollHup)
		if it.ready &^= told; told == 0 {
			continue
		}
		e := (*epollEvent)(unsafe.Pointer(events + uintptr(n)*unsafe.Sizeof(epollEvent{})))
		*e = epollEvent{told, [2]uint32{uint32(it.data), uint32(it.data >> 32)}}
		n++
	}
	return n
}

func epollWait(t *thread, events uintptr, most, timeoutMS int32) int64 {
	switch {
	case most <= 0:
		return -eINVAL
	case !writable(events, uintptr(most)*unsafe.Sizeof(epollEvent{})):
		return -eFAULT
	}
	if poller.counter != 0 {
		notify(fdEvent, epollIn) // level-triggered: until it has been read
	}
	tellRings()
	if n := harvest(events, most); n > 0 || timeoutMS == 0 {
		return n
	}
	t.events, t.max = events, most
	t.next, poller.waiting = poller.waiting, t.addrOf()
	block(t, waitEpoll, afterMS(timeoutMS))
	return 0
}

func epollForget(t *thread) {
	for at := &poller.waiting; *at != 0; at = &threadAt(*at).next {
		if *at == t.addrOf() {
			*at = t.next
			t.next = 0
			return
		}
	}
}

// The runtime's eventfd, with which it breaks its own epoll_wait.
func eventfdWrite(n uint64) int64 {
	poller.counter += n
	notify(fdEvent, epollIn)
	return 8
}

func eventfdRead(to *uint64) int64 {
	if poller.counter == 0 {
		return -eAGAIN
	}
	*to, poller.counter = poller.counter, 0
	return 8
}
