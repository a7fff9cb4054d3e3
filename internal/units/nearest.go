package units

import "strings"

// Nearest returns the known word that word is most likely a misspelling of, or "" if none is near. Typing errors
// count as in TypingErrors, ignoring case; at most one in three letters and three in all are near. The first of equally
// near words wins.
func Nearest(word string, known []string) string {
	nearest, fewest := "", max(1, min(3, len(word)/3))+1
	for _, candidate := range known {
		if errors := TypingErrors(strings.ToLower(word), strings.ToLower(candidate)); errors < fewest {
			nearest, fewest = candidate, errors
		}
	}
	return nearest
}

// TypingErrors returns how many bytes to insert, delete, replace or swap with their neighbour turn a into b: the
// optimal string alignment distance (Boytsov, Indexing methods for approximate dictionary searching, 2011, §2.1).
func TypingErrors(a, b string) int {
	var beforeLast []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+differ(a[i], b[j]))
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], beforeLast[j-1]+1)
			}
		}
		beforeLast, last = last, row
	}
	return last[len(b)]
}

func differ(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}
