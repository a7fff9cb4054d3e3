package source

import (
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
}

func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "file", "text")
	require.NoError(t, syscall.Mkfifo("pipe", 0o600))
	l, err := net.Listen("unix", "socket")
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, os.Symlink("pipe", "link"))
	f := func(name, want string) {
		t.Helper()
		text, err := ReadFile(name, 4)
		if want == "" {
			require.NoError(t, err)
			assert.Equal(t, "text", string(text))
			return
		}
		var at *fs.PathError
		require.ErrorAs(t, err, &at)
		assert.Equal(t, name, at.Path)
		assert.EqualError(t, at.Err, want)
	}
	f("file", "")
	f(filepath.Join(dir, "file"), "")
	f("pipe", "is a named pipe; name a regular file")
	f("link", "is a named pipe; name a regular file")
	f("socket", "is a socket; name a regular file")
	f("/dev/zero", "is a device; name a regular file")
	f(".", "is a directory")
	f("missing", "no such file or directory")
	_, err = ReadFile("file", 3)
	var large *TooLargeError
	assert.ErrorAs(t, err, &large)
}

func TestFoldersOpenWhatLiesInThem(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "own/sub/file", "own")
	write(t, "other/file", "other")
	write(t, "secret/file", "secret")
	there, err := filepath.Abs("other/file")
	require.NoError(t, err)
	require.NoError(t, os.Symlink("../secret/file", "own/out"))
	require.NoError(t, os.Symlink(there, "own/allowed"))
	require.NoError(t, os.Symlink("../secret", "own/folder"))
	folders, err := OpenFolders("scenario", "own", "other")
	require.NoError(t, err)
	defer folders.Close()
	f := func(name, want, wrong string) {
		t.Helper()
		text, err := Read(folders, name, 100)
		if wrong != "" {
			require.Error(t, err)
			assert.Equal(t, wrong, err.(*fs.PathError).Err.Error())
			return
		}
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
	}
	const outside = "outside the scenario's folder; allow it with --allow-path FOLDER"
	f("own/sub/file", "own", "")
	f("own/../own/sub/file", "own", "")
	f("own/allowed", "other", "")
	f(there, "other", "")
	f("own/out", "", outside)
	f("own/folder/file", "", outside)
	f("own/../secret/file", "", outside)
	f("/dev/zero", "", outside)
	_, err = fs.ReadDir(folders, "own/folder")
	assert.ErrorIs(t, err, ErrOutside)
	_, err = OpenFolders("configuration", "own", "missing")
	assert.EqualError(t, err, "read configuration missing: no such file or directory")

	folders.AllowFile("own/out")
	f("own/out", "secret", "")
}

// A folder that is replaced by a link between check and open leads nowhere.
func TestSwappedFolderIsNotFollowed(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "own/sub/file", "own")
	write(t, "secret/file", "secret")
	folders, err := OpenFolders("configuration", "own")
	require.NoError(t, err)
	defer folders.Close()
	require.NoError(t, os.Rename("own/sub", "own/gone"))
	require.NoError(t, os.Symlink("../secret", "own/sub"))
	_, err = openRegular(folders.folders[0].root, "sub/file", "own/sub/file") // as realPath returned before
	require.Error(t, err)

	require.NoError(t, os.Rename("own", "moved"))
	require.NoError(t, os.Symlink("secret", "own"))
	file, err := openRegular(folders.folders[0].root, "gone/file", "own/gone/file")
	require.NoError(t, err)
	text, err := io.ReadAll(file)
	require.NoError(t, err)
	assert.Equal(t, "own", string(text), "the folder is the one that was opened")
}
