package socket

import (
	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// errnoOf is what Linux says where netstack says err. That a stream has ended is no
// error on Linux; Receive looks for it before.
func errnoOf(err tcpip.Error) fs.Errno {
	switch err.(type) {
	case nil:
		return 0
	case *tcpip.ErrWouldBlock, *tcpip.ErrNoPortAvailable:
		return fs.EAGAIN
	case *tcpip.ErrConnectStarted:
		return fs.EINPROGRESS
	case *tcpip.ErrAlreadyConnecting:
		return fs.EALREADY
	case *tcpip.ErrAlreadyConnected:
		return fs.EISCONN
	case *tcpip.ErrClosedForSend:
		return fs.EPIPE
	case *tcpip.ErrNotConnected, *tcpip.ErrClosedForReceive:
		return fs.ENOTCONN
	case *tcpip.ErrConnectionRefused:
		return fs.ECONNREFUSED
	case *tcpip.ErrConnectionReset:
		return fs.ECONNRESET
	case *tcpip.ErrConnectionAborted:
		return fs.ECONNABORTED
	case *tcpip.ErrTimeout:
		return fs.ETIMEDOUT
	}
	return errnoOfAddress(err)
}

// errnoOfAddress is errnoOf for what is about addresses and routes.
func errnoOfAddress(err tcpip.Error) fs.Errno {
	switch err.(type) {
	case *tcpip.ErrPortInUse, *tcpip.ErrDuplicateAddress:
		return fs.EADDRINUSE
	case *tcpip.ErrBadLocalAddress:
		return fs.EADDRNOTAVAIL
	case *tcpip.ErrNetworkUnreachable:
		return fs.ENETUNREACH
	case *tcpip.ErrHostUnreachable:
		return fs.EHOSTUNREACH
	case *tcpip.ErrHostDown:
		return fs.EHOSTDOWN
	case *tcpip.ErrNoNet:
		return enonet
	case *tcpip.ErrAddressFamilyNotSupported:
		return fs.EAFNOSUPPORT
	case *tcpip.ErrDestinationRequired:
		return fs.EDESTADDRREQ
	case *tcpip.ErrUnknownNICID, *tcpip.ErrUnknownDevice:
		return fs.ENODEV
	case *tcpip.ErrBroadcastDisabled:
		return fs.EACCES
	case *tcpip.ErrMessageTooLong:
		return fs.EMSGSIZE
	case *tcpip.ErrNoBufferSpace:
		return fs.ENOBUFS
	}
	return errnoOfUse(err)
}

// errnoOfUse is errnoOf for what a socket cannot do.
func errnoOfUse(err tcpip.Error) fs.Errno {
	switch err.(type) {
	case *tcpip.ErrUnknownProtocolOption:
		return fs.ENOPROTOOPT
	case *tcpip.ErrNotSupported, *tcpip.ErrQueueSizeNotSupported:
		return fs.ENOTSUP
	case *tcpip.ErrUnknownProtocol:
		return fs.EPROTONOSUPPORT
	case *tcpip.ErrNotPermitted:
		return fs.EPERM
	case *tcpip.ErrNoSuchFile:
		return fs.ENOENT
	case *tcpip.ErrBadBuffer, *tcpip.ErrBadAddress:
		return fs.EFAULT
	}
	return fs.EINVAL
}

const enonet fs.Errno = 64
