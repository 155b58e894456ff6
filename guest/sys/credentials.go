package sys

import "github.com/pvrun/pvrun/guest"

// Credentials are the program's effective user and group.
func Credentials() (uid, gid uint32) {
	return uint32(guest.Gate(sys_geteuid, 0, 0, 0, 0, 0, 0)), uint32(guest.Gate(sys_getegid, 0, 0, 0, 0, 0, 0))
}
