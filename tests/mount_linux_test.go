package tests

// This file mounts file systems, and cuts their power.

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// mount is a file system on a directory until the end of the test.
type mount struct {
	dir     string
	source  string
	kind    string
	mounted bool
}

func newMount(t *testing.T, source, kind string, flags uintptr, options string) *mount {
	t.Helper()
	m := &mount{dir: t.TempDir(), source: source, kind: kind}
	t.Cleanup(func() {
		if err := m.tryUnmount(t); err != nil {
			t.Errorf("%v; the mount is left to the kernel", err)
			_ = syscall.Unmount(m.dir, syscall.MNT_DETACH)
		}
	})
	switch err := syscall.Mount(source, m.dir, kind, flags, options); {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENOSYS):
		missingLayer(t, "mount of %s: %v", kind, err)
	case err != nil:
		t.Fatalf("mount %s on %s: %v", source, m.dir, err)
	}
	m.mounted = true
	return m
}

func (m *mount) again(t *testing.T, options string) {
	t.Helper()
	if err := syscall.Mount(m.source, m.dir, m.kind, 0, options); err != nil {
		t.Fatalf("mount %s on %s, options %q: %v", m.source, m.dir, options, err)
	}
	m.mounted = true
}

func (m *mount) change(t *testing.T, flags uintptr, options string) {
	t.Helper()
	if err := syscall.Mount("", m.dir, "", syscall.MS_REMOUNT|flags, options); err != nil {
		t.Fatalf("remount %s: %v", m.dir, err)
	}
}

func (m *mount) unmount(t *testing.T) {
	t.Helper()
	if err := m.tryUnmount(t); err != nil {
		t.Fatal(err)
	}
}

// tryUnmount unmounts it. Another process may look into a new mount and keep it
// busy for a moment.
func (m *mount) tryUnmount(t *testing.T) error {
	t.Helper()
	if !m.mounted {
		return nil
	}
	err := syscall.Unmount(m.dir, 0)
	for range 100 {
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		_, err = runTool(t, "umount", m.dir) // also passes some time
		if err != nil {
			err = syscall.Unmount(m.dir, 0)
		}
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", m.dir, err)
	}
	m.mounted = false
	return nil
}

func newTmpfs(t *testing.T, options string) *mount {
	t.Helper()
	needRoot(t)
	return newMount(t, "tmpfs", "tmpfs", 0, options)
}

// newDisk makes an ext4 file system in a file and mounts it.
func newDisk(t *testing.T, image string, size int64, options string) *mount {
	t.Helper()
	needRoot(t, "mkfs.ext4", "losetup", "umount")
	file, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		err = errors.Join(file.Truncate(size), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runTool(t, "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-N", "512", "-J", "size=4",
		"-E", "nodiscard,lazy_itable_init=0", image); err != nil {
		t.Fatal(err)
	}
	device, err := runTool(t, "losetup", "--find", "--show", image)
	if err != nil {
		missingLayer(t, "no loop device: %v", err)
	}
	// The device is open here and detached already, so it is free when this
	// process ends, however that happens.
	open, err := os.Open(device)
	if err == nil {
		_, err = runTool(t, "losetup", "--detach", device)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = open.Close() })
	return newMount(t, device, "ext4", 0, options)
}

// ioctl passes a pointer to a system call on an open file.
func ioctl(file *os.File, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), request, uintptr(argument)); errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}

// cutPower makes the file system forget all that is not on the disk:
// FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH. Until it is unmounted,
// every operation there fails.
func (m *mount) cutPower(t *testing.T) {
	t.Helper()
	const fsIocShutdown, noLogFlush = 0x8004587d, 2
	root, err := os.Open(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	flags := uint32(noLogFlush)
	err = errors.Join(ioctl(root, fsIocShutdown, unsafe.Pointer(&flags)), root.Close())
	if err != nil {
		t.Fatalf("cut the power: %v", err)
	}
}
