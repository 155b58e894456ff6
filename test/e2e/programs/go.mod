module github.com/pvrun/pvrun/test/e2e/programs

go 1.26.0

require golang.org/x/sys v0.49.0
