package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// kernelPackage is Debian's kernel for clouds: small, with kvm-amd as a module.
const kernelPackage = "linux-image-cloud-amd64"

// modules are those that KVM and networks need, in the order of loading.
var modules = []string{
	"virt/lib/irqbypass.ko", "arch/x86/kvm/kvm.ko", "arch/x86/kvm/kvm-amd.ko",
	"drivers/net/tun.ko", "net/llc/llc.ko", "net/802/stp.ko", "net/bridge/bridge.ko", "drivers/net/veth.ko",
}

// kernel is an unpacked package of a kernel.
type kernel struct{ image, modules string }

// commands are those of busybox that tests use.
var commands = []string{"sh", "ping", "mount", "umount", "setpriv", "cat", "sleep"}

// installEmulator has apt-get install QEMU where it is missing.
func installEmulator() error {
	if _, err := exec.LookPath(emulator); err == nil {
		return nil
	}
	sudo := []string{}
	if os.Geteuid() != 0 {
		sudo = append(sudo, "sudo")
	}
	for _, line := range [][]string{
		{"apt-get", "update", "-q"},
		{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qy", "--no-install-recommends", "qemu-system-x86", "seabios"},
	} {
		line = append(sudo, line...)
		cmd := exec.Command(line[0], line[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s is missing, and %s: %w", emulator, strings.Join(line, " "), err)
		}
	}
	return nil
}

// fetchKernel unpacks Debian's kernel below dir, once; it is not installed.
func fetchKernel(dir string) (k kernel, err error) {
	if k, err = findKernel(dir); err == nil {
		return k, nil
	}
	depends, err := exec.Command("apt-cache", "depends", kernelPackage).Output()
	if err != nil {
		return kernel{}, fmt.Errorf("apt-cache depends %s: %w", kernelPackage, err)
	}
	m := regexp.MustCompile(`Depends: (linux-image-\d\S*)`).FindSubmatch(depends)
	if m == nil {
		return kernel{}, fmt.Errorf("package %s depends on no kernel", kernelPackage)
	}
	if err := unpack(dir, string(m[1])); err != nil {
		return kernel{}, err
	}
	return findKernel(dir)
}

// fetchShell unpacks a static busybox below dir, once: tests have shell scripts.
func fetchShell(dir string) (string, error) {
	file := filepath.Join(dir, "bin/busybox")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := unpack(dir, "busybox-static"); err != nil {
		return "", err
	}
	_, err := os.Stat(file)
	return file, err
}

// unpack unpacks a package of Debian's in a folder of its own.
func unpack(dir, name string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := inFolder(dir, "apt-get", "download", "-q", name); err != nil {
		return err
	}
	debs, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	if len(debs) != 1 {
		return fmt.Errorf("apt-get download %s has left %d files", name, len(debs))
	}
	if err := inFolder(dir, "dpkg-deb", "-x", filepath.Base(debs[0]), "."); err != nil {
		return err
	}
	return os.Remove(debs[0])
}

func findKernel(dir string) (kernel, error) {
	images, _ := filepath.Glob(filepath.Join(dir, "boot/vmlinuz-*"))
	if len(images) != 1 {
		return kernel{}, errors.New("no kernel in " + dir)
	}
	version := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	k := kernel{images[0], filepath.Join(dir, "lib/modules", version, "kernel")}
	for _, m := range modules {
		if _, err := os.Stat(filepath.Join(k.modules, m)); err != nil {
			return kernel{}, err
		}
	}
	return k, nil
}

func inFolder(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, text)
	}
	return nil
}
