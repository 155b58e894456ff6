package hypercall

// Status is why a call failed; it comes back negated in RAX. The numbers are
// Linux's errno values (asm-generic/errno-base.h, errno.h), so that the guest
// can hand them on.
type Status int64

const (
	EPERM        Status = 1
	ENOENT       Status = 2
	EIO          Status = 5
	ENXIO        Status = 6
	EBADF        Status = 9
	EAGAIN       Status = 11
	ENOMEM       Status = 12
	EACCES       Status = 13
	EFAULT       Status = 14
	EEXIST       Status = 17
	EXDEV        Status = 18
	ENODEV       Status = 19
	ENOTDIR      Status = 20
	EISDIR       Status = 21
	EINVAL       Status = 22
	EMFILE       Status = 24
	EFBIG        Status = 27
	ENOSPC       Status = 28
	EROFS        Status = 30
	EPIPE        Status = 32
	ENAMETOOLONG Status = 36
	ENOSYS       Status = 38
	ENOTEMPTY    Status = 39
	ELOOP        Status = 40
	EOPNOTSUPP   Status = 95
	ECONNREFUSED Status = 111
)
