package guest

import "unsafe"

// Credentials are what a thread may do and what it is called. Every thread has
// its own, as on Linux: that they are the same for all is the program's business
// (syscall.AllThreadsSyscall). A new thread has its maker's.
type Credentials struct {
	UID, GID   IDs
	GroupCount uint32
	KeepCaps   uint32 // capabilities outlive the last user id 0

	// Sets of capabilities, bit by bit.
	Inheritable, Permitted, Effective uint64

	Groups [MaxGroups]uint32 // ascending
	Name   [16]byte          // ends in a NUL
}

// IDs are a thread's user ids or its group ids.
type IDs struct{ Real, Effective, Saved, File uint32 }

// MaxGroups is how many supplementary groups there can be, as on Linux before
// 2.6.4.
const MaxGroups = 32

// Capabilities (Linux, include/uapi/linux/capability.h).
const (
	capSetgid  = 6
	capSetuid  = 7
	capSetpcap = 8
	capLast    = 40

	// AllCaps are those that mean something here: to change ids and
	// capabilities, and to pass over what files do not permit.
	AllCaps uint64 = 1<<(capSetpcap+1) - 1
	// fileCaps come and go with the user id that files see.
	fileCaps uint64 = 1<<5 - 1
)

// initCredentials makes the first thread root, named like the program.
func initCredentials(c *Credentials) {
	c.Permitted, c.Effective = AllCaps, AllCaps
	args := Bytes(Info().Args)
	base, n := 0, 0
	for n < len(args) && args[n] != 0 {
		if n++; args[n-1] == '/' {
			base = n
		}
	}
	if c.setName(args[base:n]); base == n {
		copy(c.Name[:], "program")
	}
}

func (c *Credentials) setName(name []byte) {
	c.Name = [16]byte{}
	copy(c.Name[:15], name)
}

func (c *Credentials) capable(capability uint) bool { return c.Effective>>capability&1 != 0 }

// same is the id that leaves one as it is.
const same = ^uint32(0)

// has is whether id is one of the three that an unprivileged thread may take on.
func (s *IDs) has(id uint32) bool { return id == s.Real || id == s.Effective || id == s.Saved }

// set is setuid(2) and setgid(2).
func (s *IDs) set(id uint32, may bool) int64 {
	switch {
	case id == same:
		return -eINVAL
	case may:
		*s = IDs{id, id, id, id}
	case id == s.Real || id == s.Saved:
		s.Effective, s.File = id, id
	default:
		return -ePERM
	}
	return 0
}

// setTwo is setreuid(2) and setregid(2).
func (s *IDs) setTwo(real, effective uint32, may bool) int64 {
	n := *s
	if real != same {
		if n.Real = real; !may && real != s.Real && real != s.Effective {
			return -ePERM
		}
	}
	if effective != same {
		if n.Effective = effective; !may && !s.has(effective) {
			return -ePERM
		}
	}
	if real != same || effective != same && effective != s.Real {
		n.Saved = n.Effective
	}
	n.File = n.Effective
	*s = n
	return 0
}

// setThree is setresuid(2) and setresgid(2).
func (s *IDs) setThree(real, effective, saved uint32, may bool) int64 {
	n := *s
	for _, c := range [...]struct {
		to *uint32
		id uint32
	}{{&n.Real, real}, {&n.Effective, effective}, {&n.Saved, saved}} {
		if c.id == same {
			continue
		}
		if !may && !s.has(c.id) {
			return -ePERM
		}
		*c.to = c.id
	}
	n.File = n.Effective
	*s = n
	return 0
}

// setFile is setfsuid(2) and setfsgid(2), which return the old one.
func (s *IDs) setFile(id uint32, may bool) int64 {
	old := s.File
	if id != same && (may || s.has(id) || id == s.File) {
		s.File = id
	}
	return int64(old)
}

// store stores the three ids where getresuid(2) and getresgid(2) want them.
func (s *IDs) store(to [3]uintptr) int64 {
	for i, id := range [...]uint32{s.Real, s.Effective, s.Saved} {
		if !writable(to[i], 4) {
			return -eFAULT
		}
		*(*uint32)(unsafe.Pointer(to[i])) = id
	}
	return 0
}

// followUID does to the capabilities what a change of user ids does
// (capabilities(7), "Effect of user ID changes on capabilities").
func (c *Credentials) followUID(old *IDs) {
	if old.has(0) && !c.UID.has(0) && c.KeepCaps == 0 {
		c.Permitted, c.Effective = 0, 0
	}
	switch {
	case old.Effective == 0 && c.UID.Effective != 0:
		c.Effective = 0
	case old.Effective != 0 && c.UID.Effective == 0:
		c.Effective = c.Permitted
	}
}

func (c *Credentials) followFileUID(old uint32) {
	switch {
	case old == 0 && c.UID.File != 0:
		c.Effective &^= fileCaps
	case old != 0 && c.UID.File == 0:
		c.Effective |= c.Permitted & fileCaps
	}
}

func (c *Credentials) getGroups(n int32, to uintptr) int64 {
	size := uintptr(c.GroupCount) * 4
	switch {
	case n < 0:
		return -eINVAL
	case n == 0:
		return int64(c.GroupCount)
	case uint32(n) < c.GroupCount:
		return -eINVAL
	case !writable(to, size):
		return -eFAULT
	}
	copyBytes(to, uintptr(unsafe.Pointer(&c.Groups)), size)
	return int64(c.GroupCount)
}

func (c *Credentials) setGroups(n uint32, from uintptr) int64 {
	switch {
	case !c.capable(capSetgid):
		return -ePERM
	case n > MaxGroups:
		return -eINVAL
	case !readable(from, uintptr(n)*4):
		return -eFAULT
	}
	c.GroupCount = n
	for i := range uintptr(n) {
		g := *(*uint32)(unsafe.Pointer(from + 4*i))
		for ; i > 0 && c.Groups[i-1] > g; i-- {
			c.Groups[i] = c.Groups[i-1]
		}
		c.Groups[i] = g
	}
	return 0
}
