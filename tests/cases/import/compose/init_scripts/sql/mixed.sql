CREATE DATABASE more OWNER owner;
\connect more
CREATE TABLE things (id int);
