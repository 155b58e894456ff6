package guest

// Linux's errno values (asm-generic/errno-base.h, errno.h).
const (
	ePERM     = 1
	eSRCH     = 3
	eINTR     = 4
	eBADF     = 9
	eAGAIN    = 11
	eNOMEM    = 12
	eACCES    = 13
	eFAULT    = 14
	eEXIST    = 17
	eINVAL    = 22
	eMFILE    = 24
	ePIPE     = 32
	eNOSYS    = 38
	eTIMEDOUT = 110
)
