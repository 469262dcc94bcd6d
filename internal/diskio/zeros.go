package diskio

import "kvstore/internal/vfs"

const (
	// The page cache keeps what was written at once as one piece (Linux: a
	// large folio), and each later sync of a part of it looks at all of the
	// piece's blocks. So pieces have the size of those parts, within these
	// bounds.
	minZeroPiece = 4 << 10
	maxZeroPiece = 64 << 10

	// handedZeros is how much is zeroed before the disk is given it: a fraction
	// of a millisecond of its time, which a sync of another file may wait for.
	handedZeros = 256 << 10
)

// FillZeros writes zeros to the first size bytes of a file that will be
// overwritten and synced in parts of about part bytes. It does not sync them.
func FillZeros(file vfs.File, size, part int64) error {
	piece := int64(minZeroPiece)
	for piece < part && piece < maxZeroPiece {
		piece *= 2
	}
	zeros := make([]byte, piece)
	for at := int64(0); at < size; at += piece {
		if _, err := file.WriteAt(zeros[:min(size-at, piece)], at); err != nil {
			return err
		}
		if end := at + piece; end%handedZeros == 0 {
			if err := file.WriteBack(end-handedZeros, handedZeros); err != nil {
				return err
			}
		}
	}
	return nil
}
