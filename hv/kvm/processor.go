package kvm

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"
)

// cpuid executes CPUID on the host (Intel SDM volume 2, "CPUID").
func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)

// Processor names what a guest may have learnt of its processor: vendor, signature, and
// a hash of the features that KVM offers and of those that the processor itself tells
// of, which a guest sees on back ends where CPUID does not trap. Two hosts with one name
// are alike to a guest.
func Processor() (string, error) {
	fd, f, err := openDevice()
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	_, b, c, d := cpuid(0, 0)
	var vendor []byte
	for _, w := range []uint32{b, d, c} {
		vendor = binary.LittleEndian.AppendUint32(vendor, w)
	}
	signature, _, _, _ := cpuid(1, 0)
	h := xxhash.New()
	for _, ask := range []func(leaf, sub uint32) (eax, ebx, ecx, edx uint32){cpuid, f.cpuid.leaf} {
		h.Write(features(ask))
	}
	return fmt.Sprintf("%s %x features %016x", vendor, signature, h.Sum64()), nil
}

// features are the feature words of one CPUID (Intel SDM volume 2, "CPUID"; AMD64
// Architecture Programmer's Manual volume 3, "Function 8000_0001h").
func features(ask func(leaf, sub uint32) (eax, ebx, ecx, edx uint32)) (words []byte) {
	for _, leaf := range []uint32{1, 7, 0xd, 0x80000001} {
		a, b, c, d := ask(leaf, 0)
		switch leaf {
		case 1:
			a, b = 0, 0 // signature, and which of the processors this is
		case 0xd:
			b, c = 0, 0 // sizes by what is enabled
		}
		for _, w := range []uint32{a, b, c, d} {
			words = binary.LittleEndian.AppendUint32(words, w)
		}
	}
	return words
}
