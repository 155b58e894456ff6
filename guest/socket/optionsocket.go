package socket

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// socketOptions are those of SOL_SOCKET (Linux, include/uapi/asm-generic/socket.h).
var socketOptions = map[int]inetOption{
	1:  plainOption(levelSocket, 1, minInt, maxInt, 0), // SO_DEBUG
	2:  boolOption((*tcpip.SocketOptions).GetReuseAddress, (*tcpip.SocketOptions).SetReuseAddress),
	3:  fixed(func(s *inet) int { return s.typ }), // SO_TYPE
	4:  {get: getError},
	5:  plainOption(levelSocket, 5, minInt, maxInt, 0), // SO_DONTROUTE
	6:  boolOption((*tcpip.SocketOptions).GetBroadcast, (*tcpip.SocketOptions).SetBroadcast),
	7:  sendBuffer(false),
	8:  receiveBuffer(false),
	9:  boolOption((*tcpip.SocketOptions).GetKeepAlive, (*tcpip.SocketOptions).SetKeepAlive),
	10: plainOption(levelSocket, 10, minInt, maxInt, 0), // SO_OOBINLINE
	11: boolOption((*tcpip.SocketOptions).GetNoChecksum, (*tcpip.SocketOptions).SetNoChecksum),
	12: plainOption(levelSocket, 12, minInt, maxInt, 0), // SO_PRIORITY
	13: {getLinger, setLinger},
	15: boolOption((*tcpip.SocketOptions).GetReusePort, (*tcpip.SocketOptions).SetReusePort),
	18: plainOption(levelSocket, 18, minInt, maxInt, 1), // SO_RCVLOWAT
	19: fixed(func(*inet) int { return 1 }),             // SO_SNDLOWAT
	25: {getDevice, setDevice},
	30: fixed(func(s *inet) int { return oneIf(s.ep.SocketOptions().GetAcceptConn()) }), // SO_ACCEPTCONN
	32: sendBuffer(true),
	33: receiveBuffer(true),
	36: intOption(minInt, maxInt, // SO_MARK
		func(s *inet) (int, tcpip.Error) { return int(int32(s.ep.SocketOptions().GetMark())), nil },
		func(s *inet, v int) tcpip.Error { s.ep.SocketOptions().SetMark(uint32(v)); return nil }),
	38: fixed(func(s *inet) int { return s.protocol }), // SO_PROTOCOL
	39: fixed(func(s *inet) int { return s.domain }),   // SO_DOMAIN
	46: plainOption(levelSocket, 46, 0, maxInt, 0),     // SO_BUSY_POLL
	47: plainOption(levelSocket, 47, minInt, maxInt, -1),
	49: fixed(func(*inet) int { return 0 }), // SO_INCOMING_CPU
}

// getError takes the error that waits. Netstack has two places for it, and what ends a
// connection is in both.
func getError(s *inet) ([]byte, fs.Errno) {
	err := s.ep.SocketOptions().GetLastError()
	if err != nil && s.isStream() {
		s.ep.SocketOptions().GetLastError()
	}
	return putInt(int(errnoOf(err))), 0
}

// bufferSize is what a program that asks for v bytes gets: twice that, since Linux
// counts what it needs itself to the buffer (socket(7)).
func bufferSize(v int, least, most int64, forced bool) int64 {
	size := 2 * int64(max(v, 0))
	if !forced {
		size = min(size, most)
	}
	return max(size, least)
}

func sendBuffer(forced bool) inetOption {
	return intOption(minInt, maxInt,
		func(s *inet) (int, tcpip.Error) { return int(s.ep.SocketOptions().GetSendBufferSize()), nil },
		func(s *inet, v int) tcpip.Error {
			o := s.ep.SocketOptions()
			least, most := o.SendBufferLimits()
			o.SetSendBufferSize(bufferSize(v, least, most, forced), true)
			return nil
		})
}

func receiveBuffer(forced bool) inetOption {
	return intOption(minInt, maxInt,
		func(s *inet) (int, tcpip.Error) { return int(s.ep.SocketOptions().GetReceiveBufferSize()), nil },
		func(s *inet, v int) tcpip.Error {
			o := s.ep.SocketOptions()
			least, most := o.ReceiveBufferLimits()
			o.SetReceiveBufferSize(bufferSize(v, least, most, forced), true)
			return nil
		})
}

func getLinger(s *inet) ([]byte, fs.Errno) {
	l := s.ep.SocketOptions().GetLinger()
	return append(putInt(oneIf(l.Enabled)), putInt(int(l.Timeout/time.Second))...), 0
}

func setLinger(s *inet, b []byte) fs.Errno {
	if len(b) < 8 {
		return fs.EINVAL
	}
	s.ep.SocketOptions().SetLinger(tcpip.LingerOption{
		Enabled: binary.NativeEndian.Uint32(b) != 0,
		Timeout: time.Duration(binary.NativeEndian.Uint32(b[4:])) * time.Second,
	})
	return 0
}

func getDevice(s *inet) ([]byte, fs.Errno) {
	id := s.ep.SocketOptions().GetBindToDevice()
	if id == 0 {
		return nil, 0
	}
	return append([]byte(s.net.stack.FindNICNameFromID(tcpip.NICID(id))), 0), 0
}

func setDevice(s *inet, b []byte) fs.Errno {
	name, _, _ := bytes.Cut(b, []byte{0})
	if len(name) == 0 {
		return errnoOf(s.ep.SocketOptions().SetBindToDevice(0))
	}
	for id, info := range s.net.stack.NICInfo() {
		if info.Name == string(name) {
			return errnoOf(s.ep.SocketOptions().SetBindToDevice(int32(id)))
		}
	}
	return fs.ENODEV
}
