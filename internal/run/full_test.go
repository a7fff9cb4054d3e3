package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// On a full file system a run ends with one clear error and no folder, whichever file fails.
func TestFullFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	mounted := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", mounted, "tmpfs", 0, "size=256k"))
	defer func() { assert.NoError(t, syscall.Unmount(mounted, 0)) }()
	p := plan.Plan{Schema: plan.PlanSchema, Phases: []plan.Phase{{Count: 1 << 30, Requests: sends}}}
	filler := filepath.Join(mounted, "filler")
	ended := func(err error, f *folder.Folder) {
		t.Helper()
		assert.ErrorIs(t, err, folder.ErrFolder)
		assert.ErrorContains(t, err, "no space left on device; free some space")
		assert.NotContains(t, err.Error(), "\n")
		if f != nil {
			s := execution{folder: f, trafficStarted: true}
			dir, told := s.result(err)
			assert.Empty(t, dir)
			assert.Equal(t, err, told)
		}
		assert.NoDirExists(t, filepath.Join(mounted, "one"))
	}
	fill := func(room int64) {
		t.Helper()
		file, err := os.Create(filler)
		require.NoError(t, err)
		for err == nil {
			_, err = file.Write(make([]byte, 4096))
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		info, err := file.Stat()
		require.NoError(t, err)
		require.NoError(t, errors.Join(file.Truncate(info.Size()-room), file.Close()))
	}
	fill(0) // not even the plan
	_, err := folder.Create(filepath.Join(mounted, "one"), p)
	ended(err, nil)
	require.NoError(t, os.Remove(filler))

	f, err := folder.Create(filepath.Join(mounted, "one"), p) // the hits
	require.NoError(t, err)
	for i := 0; err == nil; i++ {
		err = f.Hit(history.Hit{Seq: uint64(i + 1), Header: fmt.Sprint(i * i), Due: time.Duration(i * i)})
	}
	ended(err, f)

	f, err = folder.Create(filepath.Join(mounted, "one"), p) // a log
	require.NoError(t, err)
	log, err := f.Log("nginx")
	require.NoError(t, err)
	fill(0)
	_, err = log.Write(make([]byte, 1<<16))
	_ = log.Close()
	ended(err, f)
	require.NoError(t, os.Remove(filler))

	f, err = folder.Create(filepath.Join(mounted, "one"), p) // what is written at the end
	require.NoError(t, err)
	fill(0)
	ended(f.Finish(history.Environment{Interrupted: string(make([]byte, 1<<16))}), f)
}

// A folder removed during the run is noticed while hits arrive, or at the latest in Finish.
func TestFolderRemovedDuringTheRun(t *testing.T) {
	f := func(end func(*folder.Folder) error) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "one")
		p := plan.Plan{Schema: plan.PlanSchema, Phases: []plan.Phase{{Count: 1 << 30, Requests: sends}}, Events: []plan.Event{{}}}
		folder0, err := folder.Create(dir, p)
		require.NoError(t, err)
		require.NoError(t, folder0.Hit(hit(0)))
		require.NoError(t, os.RemoveAll(dir))
		err = end(folder0)
		assert.ErrorIs(t, err, folder.ErrFolder)
		assert.ErrorContains(t, err, "no such file or directory; it was removed during the run")
		assert.NotContains(t, err.Error(), "\n")
		s := execution{folder: folder0, trafficStarted: true}
		_, told := s.result(err)
		assert.Equal(t, err, told)
		assert.NoDirExists(t, dir)
	}
	f(func(folder0 *folder.Folder) (err error) {
		for i := 1; i < 2*folder.RowBatch && err == nil; i++ {
			err = folder0.Hit(hit(i))
		}
		return err
	})
	f(func(folder0 *folder.Folder) error { return folder0.Finish(history.Environment{}) })
}

// A log that cannot be written is reported as such, not as the read error that it causes.
func TestFullLog(t *testing.T) {
	f, err := folder.Create(filepath.Join(t.TempDir(), "one"), plan.Plan{})
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(f.Path(folder.LogsFolder), 0o755))
	require.NoError(t, os.Symlink("/dev/full", f.LogFile("b1")+folder.Partial))
	s := execution{folder: f}
	err = s.keepLog("b1", func(w io.Writer) error {
		_, err := w.Write([]byte("said"))
		return fmt.Errorf("read the log of 9230af28: %w", err)
	})
	assert.ErrorIs(t, err, folder.ErrFolder)
	assert.NotContains(t, err.Error(), "9230af28")
}
