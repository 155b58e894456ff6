package vol

// Device is what a volume lies on. Ranges are whole sectors of 512 bytes. What
// was written before a Flush that says nil stays, whatever happens; what was
// not may be there or not, sector by sector. Methods may be called from several
// goroutines.
type Device interface {
	Size() int64
	ReadAt(b []byte, off int64) error
	WriteAt(b []byte, off int64) error
	Flush() error
	// Discard says that a range is not needed any more; it may do nothing.
	Discard(off, n int64) error
}
