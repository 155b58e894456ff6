package guest

import "unsafe"

// The calls on credentials.

func dispatchCredentials(t *thread, nr uintptr, f *frame) int64 {
	c := &t.creds
	switch nr {
	case sysGetuid:
		return int64(c.UID.Real)
	case sysGeteuid:
		return int64(c.UID.Effective)
	case sysGetgid:
		return int64(c.GID.Real)
	case sysGetegid:
		return int64(c.GID.Effective)
	case sysGetresuid:
		return c.UID.store([3]uintptr{f.rdi, f.rsi, f.rdx})
	case sysGetresgid:
		return c.GID.store([3]uintptr{f.rdi, f.rsi, f.rdx})
	case sysGetgroups:
		return c.getGroups(int32(f.rdi), f.rsi)
	case sysSetgroups:
		return c.setGroups(uint32(f.rdi), f.rsi)
	case sysCapget:
		return capGet(t, f.rdi, f.rsi)
	case sysCapset:
		return capSet(t, f.rdi, f.rsi)
	case sysPrctl:
		return prctl(c, f.rdi, f.rsi)
	}
	return setIDs(c, nr, uint32(f.rdi), uint32(f.rsi), uint32(f.rdx))
}

func setIDs(c *Credentials, nr uintptr, a, b, d uint32) (r int64) {
	old := c.UID
	mayUID, mayGID := c.capable(capSetuid), c.capable(capSetgid)
	switch nr {
	case sysSetuid:
		r = c.UID.set(a, mayUID)
	case sysSetreuid:
		r = c.UID.setTwo(a, b, mayUID)
	case sysSetresuid:
		r = c.UID.setThree(a, b, d, mayUID)
	case sysSetfsuid:
		r = c.UID.setFile(a, mayUID)
		c.followFileUID(old.File)
		return r
	case sysSetgid:
		return c.GID.set(a, mayGID)
	case sysSetregid:
		return c.GID.setTwo(a, b, mayGID)
	case sysSetresgid:
		return c.GID.setThree(a, b, d, mayGID)
	case sysSetfsgid:
		return c.GID.setFile(a, mayGID)
	}
	c.followUID(&old)
	return r
}

// capHeader is Linux's struct __user_cap_header_struct.
type capHeader struct {
	version uint32
	pid     int32
}

// capWords is the effective, permitted and inheritable set of 32 capabilities,
// Linux's struct __user_cap_data_struct.
type capWords [3]uint32

// capRead checks a header and is how many capWords its version has.
func capRead(header uintptr) (words uintptr, r int64) {
	if !writable(header, unsafe.Sizeof(capHeader{})) {
		return 0, -eFAULT
	}
	h := (*capHeader)(unsafe.Pointer(header))
	switch h.version {
	case 0x19980330:
		return 1, 0
	case 0x20071026, 0x20080522:
		return 2, 0
	}
	h.version = 0x20080522
	return 0, -eINVAL
}

func capGet(t *thread, header, data uintptr) int64 {
	words, r := capRead(header)
	if data == 0 && (r == 0 || r == -eINVAL) {
		return 0 // asks for the version
	}
	if r != 0 {
		return r
	}
	switch pid := (*capHeader)(unsafe.Pointer(header)).pid; {
	case pid < 0:
		return -eINVAL
	case pid > 0:
		if t = threadByID(pid); t == nil {
			return -eSRCH
		}
	}
	if !writable(data, words*unsafe.Sizeof(capWords{})) {
		return -eFAULT
	}
	c := &t.creds
	for i := range words {
		shift := 32 * i
		*(*capWords)(unsafe.Pointer(data + i*unsafe.Sizeof(capWords{}))) =
			capWords{uint32(c.Effective >> shift), uint32(c.Permitted >> shift), uint32(c.Inheritable >> shift)}
	}
	return 0
}

func capSet(t *thread, header, data uintptr) int64 {
	words, r := capRead(header)
	if r != 0 {
		return r
	}
	switch pid := (*capHeader)(unsafe.Pointer(header)).pid; {
	case pid < 0:
		return -eINVAL
	case pid != 0 && pid != t.id:
		return -ePERM
	case !readable(data, words*unsafe.Sizeof(capWords{})):
		return -eFAULT
	}
	var set [3]uint64
	for i := range words {
		w := (*capWords)(unsafe.Pointer(data + i*unsafe.Sizeof(capWords{})))
		for k, v := range w {
			set[k] |= uint64(v) << (32 * i)
		}
	}
	return t.creds.setCaps(set[0], set[1], set[2])
}

// setCaps is capset(2): capabilities can be given up, not won.
func (c *Credentials) setCaps(effective, permitted, inheritable uint64) int64 {
	bound := c.Inheritable | c.Permitted
	if c.capable(capSetpcap) {
		bound = c.Inheritable | AllCaps
	}
	if inheritable&^bound != 0 || permitted&^c.Permitted != 0 || effective&^permitted != 0 {
		return -ePERM
	}
	c.Effective, c.Permitted, c.Inheritable = effective, permitted, inheritable
	return 0
}

// Operations of prctl(2) (Linux, include/uapi/linux/prctl.h).
const (
	prSetPdeathsig = 1
	prGetDumpable  = 3
	prSetDumpable  = 4
	prGetKeepcaps  = 7
	prSetKeepcaps  = 8
	prSetName      = 15
	prGetName      = 16
	prCapbsetRead  = 23
)

// prctl does not know PR_SET_VMA, like a Linux without CONFIG_ANON_VMA_NAME: the
// Go runtime then stops naming its memory.
func prctl(c *Credentials, op, a uintptr) int64 {
	switch op {
	case prSetPdeathsig, prSetDumpable:
		return 0
	case prGetDumpable:
		return 1
	case prGetKeepcaps:
		return int64(c.KeepCaps)
	case prSetKeepcaps:
		if a > 1 {
			return -eINVAL
		}
		c.KeepCaps = uint32(a)
		return 0
	case prSetName:
		return nameFrom(c, a)
	case prGetName:
		if !writable(a, unsafe.Sizeof(c.Name)) {
			return -eFAULT
		}
		*(*[16]byte)(unsafe.Pointer(a)) = c.Name
		return 0
	case prCapbsetRead:
		if a <= capLast {
			return int64(AllCaps >> a & 1)
		}
	}
	return -eINVAL
}

// nameFrom takes as much of a string as a name has.
func nameFrom(c *Credentials, from uintptr) int64 {
	var name [15]byte
	for i := range name {
		if !readable(from+uintptr(i), 1) {
			return -eFAULT
		}
		name[i] = *(*byte)(unsafe.Pointer(from + uintptr(i)))
		if name[i] == 0 {
			break
		}
	}
	c.setName(name[:])
	return 0
}
