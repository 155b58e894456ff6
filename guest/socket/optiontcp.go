package socket

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// tcpOptions are those of IPPROTO_TCP (Linux, include/uapi/linux/tcp.h).
var tcpOptions = map[int]inetOption{
	1:  intOption(minInt, maxInt, getNoDelay, setNoDelay),
	2:  numberOption(tcpip.MaxSegOption, 0, 32767),
	3:  boolOption((*tcpip.SocketOptions).GetCorkOption, (*tcpip.SocketOptions).SetCorkOption),
	4:  durationOption[tcpip.KeepaliveIdleOption](time.Second, 1, 32767),
	5:  durationOption[tcpip.KeepaliveIntervalOption](time.Second, 1, 32767),
	6:  numberOption(tcpip.KeepaliveCountOption, 1, 127),
	7:  numberOption(tcpip.TCPSynCountOption, 1, 127),
	8:  durationOption[tcpip.TCPLingerTimeoutOption](time.Second, minInt, maxInt),
	9:  durationOption[tcpip.TCPDeferAcceptOption](time.Second, 0, maxInt),
	10: numberOption(tcpip.TCPWindowClampOption, 0, maxInt),
	11: {get: getTCPInfo},
	12: boolOption((*tcpip.SocketOptions).GetQuickAck, (*tcpip.SocketOptions).SetQuickAck),
	13: {getCongestion, setCongestion},
	18: durationOption[tcpip.TCPUserTimeoutOption](time.Millisecond, 0, maxInt),
	23: plainOption(levelTCP, 23, 0, maxInt, 0),           // TCP_FASTOPEN
	25: plainOption(levelTCP, 25, minInt, maxInt, maxInt), // TCP_NOTSENT_LOWAT
	30: plainOption(levelTCP, 30, 0, 1, 0),                // TCP_FASTOPEN_CONNECT
}

func getNoDelay(s *inet) (int, tcpip.Error) {
	return oneIf(!s.ep.SocketOptions().GetDelayOption()), nil
}

func setNoDelay(s *inet, v int) tcpip.Error {
	s.ep.SocketOptions().SetDelayOption(v == 0)
	return nil
}

func getCongestion(s *inet) ([]byte, fs.Errno) {
	var name tcpip.CongestionControlOption
	if err := s.ep.GetSockOpt(&name); err != nil {
		return nil, errnoOf(err)
	}
	const most = 16 // TCP_CA_NAME_MAX
	b := make([]byte, most)
	copy(b, name)
	return b, 0
}

func setCongestion(s *inet, b []byte) fs.Errno {
	text, _, _ := bytes.Cut(b, []byte{0})
	name := tcpip.CongestionControlOption(text)
	return errnoOf(s.ep.SetSockOpt(&name))
}

// Places in struct tcp_info.
const (
	infoState    = 0
	infoCAState  = 1
	infoRTO      = 8
	infoSendMSS  = 16
	infoRTT      = 68
	infoRTTVar   = 72
	infoSSThresh = 76
	infoCwnd     = 80
	infoAdvMSS   = 84
	infoReorder  = 88
	sizeTCPInfo  = 104 // up to tcpi_total_retrans, what old programs know
)

// getTCPInfo says what netstack knows; the rest of the structure is 0.
func getTCPInfo(s *inet) ([]byte, fs.Errno) {
	var info tcpip.TCPInfoOption
	if err := s.ep.GetSockOpt(&info); err != nil {
		return nil, errnoOf(err)
	}
	mss, _ := s.ep.GetSockOptInt(tcpip.MaxSegOption)
	b := make([]byte, sizeTCPInfo)
	put := func(at int, v uint32) { binary.NativeEndian.PutUint32(b[at:], v) }
	b[infoState], b[infoCAState] = linuxState(uint32(info.State)), uint8(info.CcState)
	put(infoRTO, uint32(info.RTO/time.Microsecond))
	put(infoSendMSS, uint32(mss))
	put(infoRTT, uint32(info.RTT/time.Microsecond))
	put(infoRTTVar, uint32(info.RTTVar/time.Microsecond))
	put(infoSSThresh, info.SndSsthresh)
	put(infoCwnd, info.SndCwnd)
	put(infoAdvMSS, uint32(mss))
	put(infoReorder, 3+uint32(oneIf(info.ReorderSeen)))
	return b, 0
}

// linuxState is a state as Linux numbers it (include/net/tcp_states.h), which is how
// netstack does with those that are not its own.
func linuxState(s uint32) uint8 {
	if tcp.EndpointState(s) > tcp.StateClosing {
		return uint8(tcp.StateClose)
	}
	return uint8(s)
}
