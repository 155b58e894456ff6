package fs

// Families, types and levels of sockets. Linux's include/linux/socket.h and
// include/linux/net.h.
const (
	AF_UNSPEC  = 0
	AF_UNIX    = 1
	AF_INET    = 2
	AF_INET6   = 10
	AF_NETLINK = 16

	SOCK_STREAM    = 1
	SOCK_DGRAM     = 2
	SOCK_RAW       = 3
	SOCK_SEQPACKET = 5
	SOCK_NONBLOCK  = O_NONBLOCK
	SOCK_CLOEXEC   = O_CLOEXEC

	SOL_SOCKET = 1

	SHUT_RD   = 0
	SHUT_WR   = 1
	SHUT_RDWR = 2
)

// Options at SOL_SOCKET. Linux's include/uapi/asm-generic/socket.h.
const (
	SO_DEBUG       = 1
	SO_REUSEADDR   = 2
	SO_TYPE        = 3
	SO_ERROR       = 4
	SO_DONTROUTE   = 5
	SO_BROADCAST   = 6
	SO_SNDBUF      = 7
	SO_RCVBUF      = 8
	SO_KEEPALIVE   = 9
	SO_OOBINLINE   = 10
	SO_NO_CHECK    = 11
	SO_PRIORITY    = 12
	SO_LINGER      = 13
	SO_REUSEPORT   = 15
	SO_PASSCRED    = 16
	SO_PEERCRED    = 17
	SO_RCVLOWAT    = 18
	SO_SNDLOWAT    = 19
	SO_RCVTIMEO    = 20
	SO_SNDTIMEO    = 21
	SO_TIMESTAMP   = 29
	SO_ACCEPTCONN  = 30
	SO_SNDBUFFORCE = 32
	SO_RCVBUFFORCE = 33
	SO_PASSSEC     = 34
	SO_MARK        = 36
	SO_PROTOCOL    = 38
	SO_DOMAIN      = 39

	soRcvTimeoNew = 66
	soSndTimeoNew = 67
)

// Flags of sending and receiving. Linux's include/linux/socket.h.
const (
	MSG_OOB          = 0x1
	MSG_PEEK         = 0x2
	MSG_DONTROUTE    = 0x4
	MSG_CTRUNC       = 0x8
	MSG_TRUNC        = 0x20
	MSG_DONTWAIT     = 0x40
	MSG_EOR          = 0x80
	MSG_WAITALL      = 0x100
	MSG_ERRQUEUE     = 0x2000
	MSG_NOSIGNAL     = 0x4000
	MSG_MORE         = 0x8000
	MSG_WAITFORONE   = 0x10000
	MSG_CMSG_CLOEXEC = 0x40000000
)

// What goes with data at SOL_SOCKET (unix(7)), and its limits.
const (
	SCM_RIGHTS      = 1
	SCM_CREDENTIALS = 2

	cmsgHeader = 16  // bytes of struct cmsghdr, to a multiple of which each is filled up
	maxRights  = 253 // in one message: Linux's SCM_MAX_FD

	// MaxSockaddr is the room of Linux's struct sockaddr_storage, in bytes.
	MaxSockaddr = 128
	maxUnixAddr = 110 // struct sockaddr_un
)
