package socket

import (
	"encoding/binary"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// Levels of options (Linux, include/linux/socket.h); levelIP and levelIPv6 are with the
// control messages.
const (
	levelSocket = 1
	levelTCP    = 6
	levelICMPv6 = 58
)

// optionName is an option as setsockopt(2) names it.
type optionName struct{ level, name int }

// inetOption is how an option is read and set. What is nil cannot be.
type inetOption struct {
	get func(s *inet) ([]byte, fs.Errno)
	set func(s *inet, b []byte) fs.Errno
}

// inetOptionTables are the options by level.
var inetOptionTables = map[int]map[int]inetOption{
	levelSocket: socketOptions,
	levelTCP:    tcpOptions,
	levelIP:     ipOptions,
	levelIPv6:   ipv6Options,
	levelICMPv6: icmpv6Options,
}

// option finds an option that the socket has.
func (s *inet) option(level, name int) (inetOption, fs.Errno) {
	o, ok := inetOptionTables[level][name]
	switch {
	case !ok,
		level == levelTCP && !s.isStream(),
		level == levelIPv6 && s.domain != afInet6,
		level == levelICMPv6 && (s.protocol != protoICMPv6 || s.typ != inetRaw):
		return o, fs.ENOPROTOOPT
	}
	return o, 0
}

func (s *inet) Option(level, name int) ([]byte, fs.Errno) {
	o, e := s.option(level, name)
	if e == 0 && o.get == nil {
		e = fs.ENOPROTOOPT
	}
	if e != 0 {
		return nil, e
	}
	return o.get(s)
}

func (s *inet) SetOption(level, name int, value []byte) fs.Errno {
	o, e := s.option(level, name)
	if e == 0 && o.set == nil {
		e = fs.ENOPROTOOPT
	}
	if e != 0 {
		return e
	}
	return o.set(s, value)
}

// putInt is an option's value that is an int.
func putInt(v int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(int32(v))) }

// takeInt is an int of an option's value.
func takeInt(b []byte) (int, fs.Errno) {
	if len(b) < 4 {
		return 0, fs.EINVAL
	}
	return int(int32(binary.NativeEndian.Uint32(b))), 0
}

// takeIntOrChar is takeInt where Linux takes a single byte too.
func takeIntOrChar(b []byte) (int, fs.Errno) {
	if len(b) > 0 && len(b) < 4 {
		return int(b[0]), 0
	}
	return takeInt(b)
}

func oneIf(v bool) int {
	if v {
		return 1
	}
	return 0
}

// intOption is an option that is an int, from some value up to some.
func intOption(from, to int, get func(s *inet) (int, tcpip.Error), set func(s *inet, v int) tcpip.Error) inetOption {
	var o inetOption
	if get != nil {
		o.get = func(s *inet) ([]byte, fs.Errno) {
			v, err := get(s)
			if err != nil {
				return nil, errnoOf(err)
			}
			return putInt(v), 0
		}
	}
	if set != nil {
		o.set = func(s *inet, b []byte) fs.Errno {
			v, e := takeIntOrChar(b)
			switch {
			case e != 0:
				return e
			case v < from || v > to:
				return fs.EINVAL
			}
			return errnoOf(set(s, v))
		}
	}
	return o
}

const (
	minInt = -1 << 31
	maxInt = 1<<31 - 1
)

// boolOption is an option that netstack keeps with the socket.
func boolOption(get func(*tcpip.SocketOptions) bool, set func(*tcpip.SocketOptions, bool)) inetOption {
	return intOption(minInt, maxInt,
		func(s *inet) (int, tcpip.Error) { return oneIf(get(s.ep.SocketOptions())), nil },
		func(s *inet, v int) tcpip.Error { set(s.ep.SocketOptions(), v != 0); return nil })
}

// numberOption is an option that netstack has as a number.
func numberOption(o tcpip.SockOptInt, from, to int) inetOption {
	return intOption(from, to,
		func(s *inet) (int, tcpip.Error) { return s.ep.GetSockOptInt(o) },
		func(s *inet, v int) tcpip.Error { return s.ep.SetSockOptInt(o, v) })
}

// plainOption is an option that does nothing here but is remembered.
func plainOption(level, name, from, to, initial int) inetOption {
	key := optionName{level, name}
	return intOption(from, to,
		func(s *inet) (int, tcpip.Error) { return s.opts.remembered(key, initial), nil },
		func(s *inet, v int) tcpip.Error { s.opts.remember(key, v); return nil })
}

func (o *inetOptions) remembered(key optionName, initial int) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if v, ok := o.plain[key]; ok {
		return v
	}
	return initial
}

func (o *inetOptions) remember(key optionName, v int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.plain == nil {
		o.plain = map[optionName]int{}
	}
	o.plain[key] = v
}

// fixed is an option that cannot be set.
func fixed(get func(s *inet) int) inetOption {
	return intOption(0, 0, func(s *inet) (int, tcpip.Error) { return get(s), nil }, nil)
}

// durationOption is an option of netstack's that is a time, in units.
func durationOption[T ~int64, P interface {
	*T
	tcpip.GettableSocketOption
	tcpip.SettableSocketOption
}](unit time.Duration, from, to int) inetOption {
	return intOption(from, to,
		func(s *inet) (int, tcpip.Error) {
			var d T
			err := s.ep.GetSockOpt(P(&d))
			return int(time.Duration(d) / unit), err
		},
		func(s *inet, v int) tcpip.Error {
			d := T(time.Duration(v) * unit)
			return s.ep.SetSockOpt(P(&d))
		})
}
