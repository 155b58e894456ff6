module pvrun.example/guests

go 1.26
