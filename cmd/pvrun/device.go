package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/pvrun/pvrun/hv"
)

// checkDevice looks whether KVM can be used; the error is why not.
func checkDevice() (finding, error) {
	const device = "/dev/kvm"
	f := finding{Name: device, OK: true, Detail: "can be opened, back end " + hv.Backend()}
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return f.failed(err, "load kvm_intel, kvm_amd or kvm_pvm, or enable virtualization in the firmware"), err
	case errors.Is(err, os.ErrPermission):
		return f.failed(err, accessHint(device)), err
	case err != nil:
		return f.failed(err, "see dmesg"), err
	}
	file.Close()
	return f, nil
}

// accessHint says how to get at a device, by its permissions.
func accessHint(device string) string {
	info, err := os.Stat(device)
	if err != nil {
		return "ask root for access to it"
	}
	const groupRW = 0o060
	mode, group := info.Mode().Perm(), groupName(info.Sys().(*syscall.Stat_t).Gid)
	switch {
	case group == "root":
		return fmt.Sprintf("its group is root (%v): as root, chgrp kvm %s && chmod g+rw %s, and add yourself to the group kvm", mode, device, device)
	case mode&groupRW != groupRW:
		return fmt.Sprintf("its group %s has no access (%v): as root, chmod g+rw %s, and be in that group", group, mode, device)
	}
	return "add yourself to its group " + group + " and log in again"
}

// groupName is the name of a group, or its number where it has none.
func groupName(gid uint32) string {
	id := strconv.Itoa(int(gid))
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}
