package device

// Channel is one of a PC's two ATA channels, with one or two devices: the primary
// one, or the secondary one, whose ports are the same in another place. What is
// written to a register is written to both devices, the one that is selected
// answers, and device 0 does for a device 1 that is not there (ATA/ATAPI-6, clause
// 9.16).
type Channel struct {
	devices [2]*ATA
	levels  [2]bool // of INTRQ, which they share
	irq     Line
}

// NewChannel makes one with a device for each disk: one, or two.
func NewChannel(irq Line, disks ...Disk) *Channel {
	c := &Channel{irq: irq}
	for i, d := range disks[:min(len(disks), 2)] {
		c.devices[i] = newDevice(func(level bool) { c.drive(i, level) }, d)
	}
	if second := c.devices[1]; second != nil {
		second.number = deviceTwo
		c.devices[0].mate = true
	}
	return c
}

func (c *Channel) drive(device int, level bool) {
	c.levels[device] = level
	c.irq(c.levels[0] || c.levels[1])
}

// selected is the device that answers.
func (c *Channel) selected() *ATA {
	if second := c.devices[1]; second != nil && c.devices[0].device&deviceTwo != 0 {
		return second
	}
	return c.devices[0]
}

// primary is the primary channel's port for the same register.
func primary(port uint16) uint16 {
	if port&^7 == ata2Data || port == ata2Control {
		return port + ataData - ata2Data
	}
	return port
}

func (c *Channel) in(port uint16) uint8 { return c.selected().in(primary(port)) }

func (c *Channel) out(port uint16, v uint8) {
	port = primary(port)
	if port == ataData {
		c.selected().out(port, v)
		return
	}
	for _, a := range c.devices {
		if a != nil {
			a.out(port, v)
		}
	}
}

// inData and outData are the data port, 16 bits wide.
func (c *Channel) inData() uint16   { return c.selected().inData() }
func (c *Channel) outData(v uint16) { c.selected().outData(v) }
