package fs

import "sync/atomic"

// The longest value of SO_RCVTIMEO that is not for ever, in s.
const longestTimeout = 1 << 32

// Sockopt is getsockopt; the timeouts are the descriptions'.
func (fs *FS) Sockopt(fd, level, name int) ([]byte, Errno) {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return nil, e
	}
	defer fs.put(f)
	if t := s.timeout(level, name); t != nil {
		ns := t.Load()
		v := make([]byte, 16)
		putUint(v[:8], uint64(ns/1e9))
		putUint(v[8:], uint64(ns%1e9/1000))
		return v, 0
	}
	return s.sock.Option(level, name)
}

// SetSockopt is setsockopt.
func (fs *FS) SetSockopt(fd, level, name int, value []byte) Errno {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	t := s.timeout(level, name)
	switch {
	case t == nil:
		return s.sock.SetOption(level, name, value)
	case len(value) < 16:
		return EINVAL
	}
	sec, usec := int64(getUint(value[:8])), int64(getUint(value[8:16]))
	switch {
	case usec < 0 || usec >= 1e6:
		return EDOM
	case sec < 0:
		t.Store(1) // no time at all
	case sec >= longestTimeout:
		t.Store(0)
	default:
		t.Store(sec*1e9 + usec*1000)
	}
	return 0
}

// timeout is how long a direction waits, for the option of that; nil for others.
func (s *endpoint) timeout(level, name int) *atomic.Int64 {
	if level != SOL_SOCKET {
		return nil
	}
	switch name {
	case SO_RCVTIMEO, soRcvTimeoNew:
		return &s.receives
	case SO_SNDTIMEO, soSndTimeoNew:
		return &s.sends
	}
	return nil
}
