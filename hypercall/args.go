package hypercall

import "unsafe"

// UpcallArgs is the argument of CallSetUpcall. All addresses are IN.
//
// The host enters Entry with RSP = Stack after it has stored the interrupted
// RIP, RSP and RFLAGS in the vCPU's [VCPUInfo] and set its Mask; every other
// register is the interrupted code's own. When the interrupted RIP lies in
// [CriticalStart, CriticalEnd) the saved values are left as they were and
// Restart is entered instead: that range is the guest's return to interrupted
// code, which Restart begins anew.
type UpcallArgs struct {
	Entry         GVA
	Stack         GVA
	CriticalStart GVA
	CriticalEnd   GVA
	Restart       GVA
	// Syscall is where a SYSCALL instruction lands, with its return address in
	// RCX and RFLAGS in R11, on hosts where it stays at CPL 3. Elsewhere it is
	// exception 6 (#UD).
	Syscall GVA
}

// MulticallEntry is one call of a CallMulticall. CallMulticall, CallBlock,
// CallExit, CallCrash, CallSetUpcall, CallSuspend, CallRespond and CallStream are EINVAL
// inside one.
type MulticallEntry struct {
	Call   uint64    // IN
	Args   [6]uint64 // IN
	Result int64     // OUT
}

// HostFileOp selects what CallHostFile does. 0 is reserved.
type HostFileOp uint32

const (
	HostFileOpen     HostFileOp = 1  // Path, Flags, Mode → handle; HostFileAttr into Buf
	HostFileClose    HostFileOp = 2  // Handle
	HostFileRead     HostFileOp = 3  // Handle, Buf, BufLen, Offset → bytes
	HostFileWrite    HostFileOp = 4  // Handle, Buf, BufLen, Offset → bytes
	HostFileStat     HostFileOp = 5  // Path or (PathLen 0) Handle; HostFileAttr into Buf
	HostFileReaddir  HostFileOp = 6  // Handle; HostFileDirent records into Buf → bytes, 0 at the end
	HostFileTruncate HostFileOp = 7  // Handle, Offset = new size
	HostFileSync     HostFileOp = 8  // Handle, Flags: HostFileDataOnly
	HostFileMkdir    HostFileOp = 9  // Path, Mode
	HostFileRemove   HostFileOp = 10 // Path
	HostFileRename   HostFileOp = 11 // Path → Path2 in Buf, BufLen bytes
	HostFileReadlink HostFileOp = 12 // Path; target into Buf → bytes
	HostFileSymlink  HostFileOp = 13 // Path → target in Buf, BufLen bytes
	HostFileLink     HostFileOp = 14 // Path → Path2 in Buf, BufLen bytes
	HostFileChmod    HostFileOp = 15 // Path or (PathLen 0) Handle; Mode
	HostFileSetTimes HostFileOp = 16 // Path or (PathLen 0) Handle; HostFileTimes in Buf
	HostFileStatfs   HostFileOp = 17 // Path or (PathLen 0) Handle; HostFileFS into Buf
	HostFileAllocate HostFileOp = 18 // Handle, Offset, Length, Flags: HostFileKeepSize and others
	HostFileSeek     HostFileOp = 19 // Handle, Offset, Flags: HostFileHole → offset
	HostFileMap      HostFileOp = 20 // Handle, Buf = start, Length, Offset, Flags = MapFlag
	HostFileLock     HostFileOp = 21 // Handle, Offset, Length, Flags: HostFileLockShared and others
	HostFileEnd      HostFileOp = 22
)

// Flags of HostFileOpen; exactly one of the first three access modes.
const (
	HostFileRDONLY = 0
	HostFileWRONLY = 1
	HostFileRDWR   = 2
	HostFileCREATE = 0x40
	HostFileEXCL   = 0x80
	HostFileTRUNC  = 0x200
	HostFileAPPEND = 0x400

	HostFileDIRECTORY = 0x10000
	HostFileNOFOLLOW  = 0x20000 // also of HostFileSetTimes
)

// Flags of other operations.
const (
	HostFileDataOnly = 1 // sync: not what only stat shows

	HostFileKeepSize  = 0x01 // allocate: Linux's FALLOC_FL_ flags
	HostFilePunchHole = 0x02
	HostFileZeroRange = 0x10

	HostFileHole = 1 // seek: for a hole, not for data

	// Of lock exactly one of the first three. A lock is the handle's, and never
	// waited for.
	HostFileLockShared    = 1
	HostFileLockExclusive = 2
	HostFileUnlock        = 3
	HostFileLockWhole     = 0x10 // as flock(2) does; else as fcntl(2) does, a range
)

// HostFileArgs is the argument of CallHostFile; all fields are IN. Paths are
// slash-separated, relative to the shared folder, and never leave it. A handle
// is of the share that it was opened in.
type HostFileArgs struct {
	Op      HostFileOp
	Flags   uint32
	Handle  uint64
	Path    GVA
	PathLen uint64
	Buf     GVA
	BufLen  uint64
	Offset  int64
	Mode    uint32 // permission bits, and the sticky bit for HostFileChmod
	Share   uint32 // number of the shared folder
	Length  uint64 // bytes, of allocate, map and lock; 0 of lock: to any end
}

// HostFileAttr is what HostFileStat and HostFileOpen store: of Linux's struct
// stat what matters to programs. Times are ns since 1970.
type HostFileAttr struct {
	Size   int64
	Blocks int64 // of 512 bytes
	ATime  int64
	MTime  int64
	CTime  int64
	Ino    uint64
	Dev    uint64
	Rdev   uint64
	Mode   uint32 // Linux st_mode
	NLink  uint32
	UID    uint32
	GID    uint32
}

// HostFileTimes is what HostFileSetTimes sets, in ns since 1970.
type HostFileTimes struct {
	ATime int64 // HostFileOmit leaves it alone
	MTime int64 // likewise
}

// HostFileOmit is a time that HostFileSetTimes does not set.
const HostFileOmit = 1<<63 - 1

// HostFileFS is what HostFileStatfs stores: of Linux's struct statfs what matters.
type HostFileFS struct {
	BlockSize   uint64 // bytes
	Blocks      uint64
	BlocksFree  uint64
	BlocksAvail uint64 // to users without privilege
	Files       uint64
	FilesFree   uint64
	NameMax     uint64
}

// HostFileDirent heads one record of HostFileReaddir; NameLen bytes of name
// and zeros up to a multiple of 8 follow.
type HostFileDirent struct {
	Ino     uint64
	Type    uint32 // Linux st_mode & S_IFMT
	NameLen uint32
}

// Compile-time size checks: an array index that is not 0 does not compile.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(UpcallArgs{})-48]
	_ = [1]struct{}{}[unsafe.Sizeof(MulticallEntry{})-64]
	_ = [1]struct{}{}[unsafe.Sizeof(HostFileArgs{})-72]
	_ = [1]struct{}{}[unsafe.Sizeof(HostFileAttr{})-80]
	_ = [1]struct{}{}[unsafe.Sizeof(HostFileTimes{})-16]
	_ = [1]struct{}{}[unsafe.Sizeof(HostFileFS{})-56]
	_ = [1]struct{}{}[unsafe.Sizeof(HostFileDirent{})-16]
)
