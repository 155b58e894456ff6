package compare

// diskBytes is the size of the scratch disk.
const diskBytes = 64 << 20

// blockWorkloads are those that need a disk: a file of the host's, through its page
// cache. In trap it is an ATA disk by programmed I/O.
func blockWorkloads() []Workload {
	const (
		rings   = "request and response lie in memory, and while there is work both sides look"
		command = "six registers are written for a command of 28 bits, "
	)
	return []Workload{
		{
			Name: "blk-read-4k", Program: "blk", Args: []string{"read", "4096", "1"}, Ops: 3000, Disk: diskBytes,
			Operation: "one read of 4 KiB at a random place",
			About:     "One read after the other: each waits for the one before.",
			Fewest: map[string]Bound{
				PV:   {0, rings},
				Trap: {8, command + "the status is read, and one REP INSW takes a block of 8 sectors"},
			},
		},
		{
			Name: "blk-read-4k-32", Program: "blk", Args: []string{"read", "4096", "32"}, Ops: 10_000, Disk: diskBytes,
			Operation: "one read of 4 KiB at a random place, 32 of them at once",
			About:     "Goroutines that read at once. A ring takes all of their requests; an ATA disk one.",
			Fewest: map[string]Bound{
				PV:   {0, rings},
				Trap: {8, "as for one at a time: there is one command at a time"},
			},
		},
		{
			Name: "blk-write-4k", Program: "blk", Args: []string{"write", "4096", "1"}, Ops: 3000, Disk: diskBytes,
			Operation: "one write of 4 KiB at a random place",
			About:     "One write after the other.",
			Fewest: map[string]Bound{
				PV:   {0, rings},
				Trap: {9, command + "the status is read, one REP OUTSW gives 8 sectors, and the status tells of the end"},
			},
		},
		{
			Name: "blk-write-4k-32", Program: "blk", Args: []string{"write", "4096", "32"}, Ops: 10_000, Disk: diskBytes,
			Operation: "one write of 4 KiB at a random place, 32 of them at once",
			About:     "Goroutines that write at once.",
			Fewest: map[string]Bound{
				PV:   {0, rings},
				Trap: {9, "as for one at a time: there is one command at a time"},
			},
		},
		{
			Name: "blk-read-1m", Program: "blk", Args: []string{"read", "1048576", "1"}, Ops: 100, Disk: diskBytes,
			Operation: "one read of 1 MiB, each after the last",
			About:     "Reading in a row. The host reads straight into the program's memory.",
			Fewest: map[string]Bound{
				PV:   {0, rings},
				Trap: {266, "ten registers are written for a command of 48 bits; a block has 16 sectors, each with a look at the status and one REP INSW"},
			},
		},
		{
			Name: "blk-write-1m", Program: "blk", Args: []string{"write", "1048576", "1"}, Ops: 100, Disk: diskBytes,
			Operation: "one write of 1 MiB, each after the last",
			About:     "Writing in a row.",
			Fewest: map[string]Bound{
				PV:   {0, rings},
				Trap: {267, "as for reading, and the status tells of the end"},
			},
		},
		{
			Name: "blk-sync", Program: "blk", Args: []string{"sync", "4096", "1"}, Ops: 200, Disk: diskBytes,
			Operation: "one write of 4 KiB, and fsync",
			About:     "Writing so that it stays. The host's file is synced, which takes as long in any mode.",
			Fewest: map[string]Bound{
				PV:   {1, "the ring is in memory; one call waits for the file to be synced"},
				Trap: {11, "a write, one command without registers, and its status"},
			},
		},
	}
}
