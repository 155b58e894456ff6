package guest

// The pair of 8259A interrupt controllers (Intel 8259A data sheet, order number
// 231468). They end interrupts by themselves (AEOI): what runs on one keeps
// interrupts disabled, so none comes a second time.

const (
	picCommand1 = 0x20
	picData1    = 0x21
	picCommand2 = 0xa0
	picData2    = 0xa1

	icw1      = 0x11 // edges, cascade, ICW4 follows
	icw4      = 0x03 // 8086 mode, AEOI
	cascadeIn = 2

	irqCOM2 = 3
	irqCOM1 = 4
)

// initPIC lets the lines in that somebody may wait for.
func initPIC(lines uint16) {
	out8(picCommand1, icw1)
	out8(picData1, vectorPIC)
	out8(picData1, 1<<cascadeIn)
	out8(picData1, icw4)
	out8(picCommand2, icw1)
	out8(picData2, vectorPIC+8)
	out8(picData2, cascadeIn)
	out8(picData2, icw4)
	mask := ^(lines | 1<<cascadeIn)
	out8(picData2, uint8(mask>>8))
	out8(picData1, uint8(mask))
}
