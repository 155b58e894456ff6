package fs

// take moves bytes out of the ring.
func (p *pipe) take(b []byte) int {
	b = b[:min(len(b), p.n)]
	k := copy(b, p.buf[p.head:])
	copy(b[k:], p.buf)
	p.n -= len(b)
	p.head = (p.head + len(b)) % len(p.buf)
	return len(b)
}

// put moves bytes into the ring, for which there is room.
func (p *pipe) put(b []byte) {
	if p.n+len(b) > len(p.buf) {
		p.grow(p.n + len(b))
	}
	if len(b) == 0 {
		return
	}
	tail := (p.head + p.n) % len(p.buf)
	k := copy(p.buf[tail:], b)
	copy(p.buf, b[k:])
	p.n += len(b)
}

// grow makes the ring hold need bytes, at least.
func (p *pipe) grow(need int) {
	size := max(PIPE_BUF, len(p.buf))
	for size < need {
		size *= 2
	}
	p.move(min(size, max(p.max, need)))
}

// move puts the content into a ring of another size.
func (p *pipe) move(size int) {
	buf := make([]byte, size)
	n := p.n
	if n > 0 {
		p.take(buf[:n])
	}
	p.buf, p.head, p.n = buf, 0, n
}

func (p *pipe) capacity() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.max
}

// resize is F_SETPIPE_SZ: the next power of two, of pages.
func (p *pipe) resize(want int) (int, Errno) {
	if want < 0 || want > pipeMax {
		return 0, EPERM
	}
	size := PIPE_BUF
	for size < want {
		size *= 2
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n > size {
		return 0, EBUSY
	}
	p.max = size
	if len(p.buf) > size {
		p.move(size)
	}
	p.wake()
	return size, 0
}

// buffered is how much a read would find.
func (p *pipe) buffered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}
