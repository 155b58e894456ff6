package vol

import (
	"errors"
	"strconv"
)

var (
	errMagic    = errors.New("not a volume of pvrun")
	errChecksum = errors.New("the checksum is wrong")
	errFields   = errors.New("its fields contradict each other")
	errIO       = errors.New("the disk cannot be read or written")
	errShort    = errors.New("the device is smaller than the volume")

	// ErrDamaged is what Check can repair, as far as it can be.
	ErrDamaged = errors.New("damaged")
	// ErrNotVolume is a device with something else on it.
	ErrNotVolume = errMagic
	// ErrBroken is a commit that failed: nothing is written any more.
	ErrBroken = errors.New("a write or flush of the device has failed")
)

// versionError is a volume of another version.
type versionError struct{ version uint32 }

func (e *versionError) Error() string {
	return "version " + strconv.FormatUint(uint64(e.version), 10) + " of the format, and this program knows version " +
		strconv.Itoa(Version)
}

// opError says what was done to what.
type opError struct {
	op  string
	err error
}

func (e *opError) Error() string { return e.op + ": " + e.err.Error() }
func (e *opError) Unwrap() error { return e.err }
