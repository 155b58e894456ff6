package compare

// networkWorkloads are those that need a network: the user's, with a peer of this
// process's. In trap it is an NE2000 by programmed I/O, whose frames have 1,500 bytes.
func networkWorkloads() []Workload {
	const (
		rings  = "frames lie in memory, and while some come both sides look"
		frames = "neighbouring registers take one OUT: a frame out is place and length of the copy, its command, one REP OUTSW, " +
			"page and length of the frame, and the command to send; one in is a look at what has come, the same for the copy with REP INSW, and one OUT to free it"
		chunk = "; 64 KiB are 45 frames"
	)
	return []Workload{
		{
			Name: "net-request", Program: "net", Args: []string{"request"}, Ops: 3000, Net: true,
			Operation: "64 bytes sent, and 64 bytes of answer",
			About:     "One request after the other on one connection: each waits for the answer to the one before.",
			Fewest: map[string]Bound{
				PV:   {0, rings},
				Trap: {10, frames},
			},
		},
		{
			Name: "net-in", Program: "net", Args: []string{"in"}, Ops: 400, Net: true,
			Operation: "64 KiB received",
			About:     "A stream into the machine. In pv segments of many frames come as one.",
			Fewest: map[string]Bound{
				PV:   {0, rings},
				Trap: {225, frames + chunk},
			},
		},
		{
			Name: "net-out", Program: "net", Args: []string{"out"}, Ops: 400, Net: true,
			Operation: "64 KiB sent",
			About:     "A stream out of the machine.",
			Fewest: map[string]Bound{
				PV:   {0, rings},
				Trap: {225, frames + chunk},
			},
		},
	}
}
