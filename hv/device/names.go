package device

import "sync"

// Name says what is at a port, for counts: "io." and device and register. The
// set is small, whatever the guest asks for; what nothing answers is "io.none".
func Name(port uint16, write bool) string {
	names, ok := portNames()[port]
	switch {
	case !ok:
		return "io.none"
	case write:
		return names.write
	}
	return names.read
}

type portName struct{ read, write string }

func same(name string) portName { return portName{name, name} }

// portNames is made when the first port is named: most machines have none.
var portNames = sync.OnceValue(func() map[uint16]portName {
	names := map[uint16]portName{
		pic1Command: same("io.pic.command"),
		pic1Data:    same("io.pic.data"),
		pic2Command: same("io.pic2.command"),
		pic2Data:    same("io.pic2.data"),
		elcr1:       same("io.pic.elcr"),
		elcr2:       same("io.pic2.elcr"),
		pit0:        same("io.pit.counter0"),
		pit0 + 1:    same("io.pit.counter1"),
		pit0 + 2:    same("io.pit.counter2"),
		pitControl:  same("io.pit.control"),
		systemPort:  same("io.pit.speaker"),
		rtcIndex:    same("io.rtc.index"),
		rtcData:     same("io.rtc.data"),

		com1:     {"io.uart.rbr", "io.uart.thr"},
		com1 + 1: same("io.uart.ier"),
		com1 + 2: {"io.uart.iir", "io.uart.fcr"},
		com1 + 3: same("io.uart.lcr"),
		com1 + 4: same("io.uart.mcr"),
		com1 + 5: same("io.uart.lsr"),
		com1 + 6: same("io.uart.msr"),
		com1 + 7: same("io.uart.scr"),
		com2:     {"io.uart2.rbr", "io.uart2.thr"},
		com2 + 1: same("io.uart2.ier"),
		com2 + 2: {"io.uart2.iir", "io.uart2.fcr"},
		com2 + 3: same("io.uart2.lcr"),
		com2 + 4: same("io.uart2.mcr"),
		com2 + 5: same("io.uart2.lsr"),
		com2 + 6: same("io.uart2.msr"),
		com2 + 7: same("io.uart2.scr"),

		ataData:     same("io.ata.data"),
		ataData + 1: {"io.ata.error", "io.ata.features"},
		ataData + 2: same("io.ata.count"),
		ataData + 3: same("io.ata.lba_low"),
		ataData + 4: same("io.ata.lba_mid"),
		ataData + 5: same("io.ata.lba_high"),
		ataData + 6: same("io.ata.device"),
		ataStatus:   {"io.ata.status", "io.ata.command"},
		ataControl:  {"io.ata.altstatus", "io.ata.control"},

		ata2Data:     same("io.ata2.data"),
		ata2Data + 1: {"io.ata2.error", "io.ata2.features"},
		ata2Data + 2: same("io.ata2.count"),
		ata2Data + 3: same("io.ata2.lba_low"),
		ata2Data + 4: same("io.ata2.lba_mid"),
		ata2Data + 5: same("io.ata2.lba_high"),
		ata2Data + 6: same("io.ata2.device"),
		ata2Data + 7: {"io.ata2.status", "io.ata2.command"},
		ata2Control:  {"io.ata2.altstatus", "io.ata2.control"},

		controlPort: {"io.control.signals", "io.control.exit"},
		controlHigh: {"io.control.signals", "io.none"},
	}
	for _, first := range ne2000 {
		for i := range uint16(nicPorts) {
			names[first+i] = same(nicName(i))
		}
	}
	return names
})

// nicName is the name of a network interface's port.
func nicName(port uint16) string {
	switch {
	case port == nicCR:
		return "io.nic.command"
	case port >= nicReset:
		return "io.nic.reset"
	case port >= nicData:
		return "io.nic.data"
	}
	return "io.nic.register"
}
