package fs

import (
	"slices"
	"sync"
)

// Sizes of a pipe's buffer, in bytes; Linux's defaults (pipe(7)).
const (
	pipeDefault = 64 << 10
	pipeMax     = 1 << 20
)

// pipe is the buffer behind a pair of descriptors or a FIFO.
type pipe struct {
	mu      sync.Mutex
	changed sync.Cond // anything a sleeper may wait for
	buf     []byte    // ring; grows up to max as it fills
	head    int       // first byte in buf
	n       int       // bytes in buf
	max     int
	readers int
	writers int
	opened  [2]int  // how often the read and the write end were ever opened
	ends    []*file // descriptions to notify
}

func newPipe() *pipe {
	p := &pipe{max: pipeDefault}
	p.changed.L = &p.mu
	return p
}

// Pipe makes a pipe and returns its read and write descriptor.
func (fs *FS) Pipe(flags int) (r, w int, e Errno) {
	if flags&^(O_NONBLOCK|O_CLOEXEC|O_DIRECT) != 0 {
		return 0, 0, EINVAL
	}
	n := fs.newInode(devAnon, S_IFIFO|0o600)
	n.pipe = newPipe()
	ends := [2]int{}
	for i, mode := range [2]uint32{O_RDONLY, O_WRONLY} {
		f := fs.newFile(n, mode|uint32(flags))
		f.name = "pipe:[" + decimal(n.ino) + "]"
		f.stream = n.pipe
		n.pipe.join(f)
		ends[i], e = fs.table.add(f, 0, flags&O_CLOEXEC != 0)
		if e != 0 {
			if i == 1 {
				fs.Close(ends[0])
			}
			return 0, 0, e
		}
	}
	return ends[0], ends[1], 0
}

// join adds a description to the pipe.
func (p *pipe) join(f *file) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = append(p.ends, f)
	if f.readable() {
		p.readers++
		p.opened[0]++
	}
	if f.writable() {
		p.writers++
		p.opened[1]++
	}
	p.changed.Broadcast()
}

// open is the opening of a FIFO: it waits for the other end, unless the
// description is both ends or O_NONBLOCK.
func (p *pipe) open(f *file) (stream, Errno) {
	both := f.readable() && f.writable()
	p.mu.Lock()
	lonely := f.writable() && !both && p.readers == 0 && f.nonblock()
	p.mu.Unlock()
	if lonely {
		return nil, ENXIO
	}
	p.join(f)
	if both || f.nonblock() {
		return p, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.writable() {
		p.await(&p.readers, &p.opened[0])
	} else {
		p.await(&p.writers, &p.opened[1])
	}
	return p, 0
}

// await parks until the other end is there or has been meanwhile.
func (p *pipe) await(now, ever *int) {
	for before := *ever; *now == 0 && *ever == before; {
		p.changed.Wait()
	}
}

// close takes a description out.
func (p *pipe) close(f *file) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.ends, f); i >= 0 {
		p.ends = slices.Delete(p.ends, i, i+1)
	}
	if f.readable() {
		p.readers--
	}
	if f.writable() {
		p.writers--
	}
	if p.readers == 0 && p.writers == 0 {
		p.buf, p.head, p.n = nil, 0, 0
	}
	p.wake()
}

// wake tells sleepers and event polls. The caller holds mu.
func (p *pipe) wake() {
	p.changed.Broadcast()
	for _, f := range p.ends {
		if events := p.state(f); events != 0 {
			f.notify(events)
		}
	}
}

func (p *pipe) ready(f *file) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state(f)
}

// state is the readiness of one end. The caller holds mu.
func (p *pipe) state(f *file) (events uint32) {
	if f.readable() {
		if p.n > 0 {
			events |= EPOLLIN
		}
		if p.writers == 0 && p.opened[1] > 0 {
			events |= EPOLLHUP
		}
	}
	if f.writable() {
		if p.max-p.n >= PIPE_BUF {
			events |= EPOLLOUT
		}
		if p.readers == 0 {
			events |= EPOLLERR
		}
	}
	return events
}

func (p *pipe) read(f *file, b []byte) (int, Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.n == 0 {
		if p.writers == 0 {
			return 0, 0
		}
		if f.nonblock() {
			return 0, EAGAIN
		}
		p.changed.Wait()
	}
	n := p.take(b)
	p.wake()
	return n, 0
}

func (p *pipe) write(f *file, b []byte) (int, Errno) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done, whole := 0, len(b) <= PIPE_BUF
	for len(b) > 0 {
		if p.readers == 0 {
			return done, EPIPE.unless(done > 0)
		}
		k := min(p.max-p.n, len(b))
		if k == 0 || whole && k < len(b) {
			if f.nonblock() {
				return done, EAGAIN.unless(done > 0)
			}
			p.changed.Wait()
			continue
		}
		p.put(b[:k])
		b = b[k:]
		done += k
		p.wake()
	}
	return done, 0
}

// unless is e, or success when some of the work was done.
func (e Errno) unless(done bool) Errno {
	if done {
		return 0
	}
	return e
}
