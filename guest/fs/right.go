package fs

// Right is a description on its way through a socket (SCM_RIGHTS, unix(7)).
type Right struct{ file *file }

// Close ends a right that nobody receives. It may end the description, so it is
// called without locks.
func (r Right) Close() {
	r.file.fs.inFlight.Add(-1)
	r.file.fs.put(r.file)
}

// Dup is one more right to the same description, for who only looks at a message.
func (r Right) Dup() Right {
	r.file.refs.Add(1)
	r.file.fs.inFlight.Add(1)
	return r
}

// takeRights moves the rights in m.Control to m.Rights.
func (fs *FS) takeRights(m *Message) Errno {
	var others []byte
	for control := m.Control; ; {
		level, typ, data, rest, ok, e := NextControl(control)
		if e != 0 || !ok {
			m.Control = others
			return e
		}
		if level == SOL_SOCKET && typ == SCM_RIGHTS {
			if e := fs.addRights(m, data); e != 0 {
				return e
			}
		} else {
			others = append(others, control[:len(control)-len(rest)]...)
		}
		control = rest
	}
}

// addRights adds the descriptors in data to m.Rights.
func (fs *FS) addRights(m *Message, data []byte) Errno {
	n := len(data) / 4
	if n+len(m.Rights) > maxRights {
		return EINVAL
	}
	if int(fs.inFlight.Load())+n > MaxFDs {
		return ETOOMANYREFS
	}
	for ; n > 0; n-- {
		f, e := fs.get(int(int32(getUint(data[:4]))))
		if e != 0 {
			return e
		}
		fs.inFlight.Add(1)
		m.Rights = append(m.Rights, Right{f})
		data = data[4:]
	}
	return 0
}

// dropRights ends the rights that are left in m.
func (m *Message) dropRights() {
	rights := m.Rights
	m.Rights = nil
	for _, r := range rights {
		r.Close()
	}
}

// giveRights makes descriptors of the rights in m, as many as there is room for, and
// ends the others.
func (fs *FS) giveRights(m *Message, cloexec bool) {
	if len(m.Rights) == 0 {
		return
	}
	room := (m.Room - len(m.Control) - cmsgHeader) / 4
	var fds []byte
	for len(m.Rights) > 0 && len(fds)/4 < room {
		r := m.Rights[0]
		r.file.refs.Add(1)
		fd, e := fs.table.add(r.file, 0, cloexec)
		if e != 0 {
			break
		}
		r.Close()
		m.Rights = m.Rights[1:]
		fds = append(fds, 0, 0, 0, 0)
		putUint(fds[len(fds)-4:], uint64(fd))
	}
	if len(m.Rights) > 0 {
		m.Flags |= MSG_CTRUNC
		m.dropRights()
	}
	if len(fds) > 0 {
		m.PutControl(SOL_SOCKET, SCM_RIGHTS, fds)
	}
}
