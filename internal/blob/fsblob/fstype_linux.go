package fsblob

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fileSystem names the file system by the number that statfs gives.
func (d *disk) fileSystem() (name string, network bool, err error) {
	var st unix.Statfs_t
	cerr := d.conn.Control(func(fd uintptr) {
		for {
			if err = unix.Fstatfs(int(fd), &st); err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		return "", false, cerr
	}
	if err != nil {
		return "", false, os.NewSyscallError("fstatfs", err)
	}
	name, network = nameOf(uint32(st.Type))
	return name, network, nil
}

func nameOf(magic uint32) (name string, network bool) {
	switch magic {
	case unix.NFS_SUPER_MAGIC:
		return "nfs", true
	case unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC:
		return "cifs", true
	case unix.FUSE_SUPER_MAGIC: // virtiofs and sshfs too
		return "fuse", true
	case unix.V9FS_MAGIC:
		return "9p", true
	case unix.CEPH_SUPER_MAGIC:
		return "ceph", true
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return "afs", true
	case 0x0bd00bd0:
		return "lustre", true
	case 0x01161970:
		return "gfs2", true
	case unix.OCFS2_SUPER_MAGIC:
		return "ocfs2", true
	case 0x786f4256:
		return "vboxsf", true
	}
	return localName(magic), false
}

func localName(magic uint32) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case 0x2fc12fc1:
		return "zfs"
	case unix.BCACHEFS_SUPER_MAGIC:
		return "bcachefs"
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.MSDOS_SUPER_MAGIC:
		return "vfat"
	case unix.EXFAT_SUPER_MAGIC:
		return "exfat"
	}
	return fmt.Sprintf("%#x", magic)
}
