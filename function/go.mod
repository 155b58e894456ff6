module github.com/pvrun/pvrun/function

go 1.26
